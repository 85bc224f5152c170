"""Rules on what people see in the editor and what changes no run."""

from typing import Final

from lastgood.dsl.rules.rule import table

RULES: Final = table(
    "LAYOUT",
    (
        "canvas-changed",
        "info",
        "Nodes stand elsewhere on the canvas.",
        "No run changes.",
        "a node was dragged",
    ),
    (
        "note-changed",
        "info",
        "Sticky notes were written, changed or thrown away.",
        "No run changes.",
        "a note is new",
    ),
    (
        "title-changed",
        "info",
        "A node has another title.",
        "No run changes.",
        "`title` becomes another",
    ),
    (
        "description-changed",
        "info",
        "A node or a variable has another description.",
        "No run changes.",
        "`desc` becomes another",
    ),
    (
        "node-renumbered",
        "info",
        "A node has another id, and all that read it followed.",
        "No run changes; logs name the new id.",
        "a node was copied and the old one removed",
    ),
    (
        "input-wording-changed",
        "info",
        "The label, hint or description of an input is another.",
        "People who fill in the form read it; requests go by the name.",
        "`label: Total` becomes `Amount`",
    ),
    (
        "order-changed",
        "info",
        "A list stands in another order that matters to nobody.",
        "The form or the list in the editor looks otherwise.",
        "two inputs change places",
    ),
    (
        "choice-order-changed",
        "info",
        "The choices of an input stand in another order.",
        "The form looks otherwise.",
        "`options: [a, b]` becomes `[b, a]`",
    ),
    (
        "app-name-changed",
        "info",
        "The app has another name.",
        "No run changes.",
        "`app.name` becomes another",
    ),
    (
        "app-description-changed",
        "info",
        "The app has another description.",
        "No run changes.",
        "`app.description` becomes another",
    ),
    (
        "app-icon-changed",
        "info",
        "The app has another icon.",
        "No run changes.",
        "`app.icon` becomes another",
    ),
    (
        "app-fact-changed",
        "info",
        "Something else is said of the app.",
        "No run changes.",
        "an unknown key of `app`",
    ),
    (
        "no-effect",
        "info",
        "A setting is written otherwise and means the same.",
        "A default written out, a part that is switched off, an id that nothing refers to: no run changes.",
        "`retry_config: {retry_enabled: false}` is new",
    ),
    (
        "unused-feature-changed",
        "info",
        "A feature that this kind of app has no use for changed.",
        "No run changes.",
        "`opening_statement` of a workflow",
    ),
)
