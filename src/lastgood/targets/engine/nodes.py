"""graphon's nodes with our own hands and feet: each node that renders, runs code, or leaves the process gets the
sandbox, the guarded HTTP client and the model endpoint instead of graphon's defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphon.entities.base_node_data import BaseNodeData
from graphon.entities.graph_config import NodeConfigDict
from graphon.enums import NodeExecutionType, WorkflowNodeExecutionStatus
from graphon.file import File, FileTransferMethod, FileType
from graphon.model_runtime.memory import PromptMessageMemory
from graphon.node_events.base import NodeRunResult
from graphon.nodes.answer.answer_node import AnswerNode
from graphon.nodes.base.node import Node
from graphon.nodes.code.code_node import CodeNode
from graphon.nodes.code.entities import CodeLanguage
from graphon.nodes.code.limits import CodeNodeLimits
from graphon.nodes.end.end_node import EndNode
from graphon.nodes.http_request.config import build_http_request_config
from graphon.nodes.http_request.exc import FileFetchError, HttpRequestNodeError
from graphon.nodes.http_request.node import HttpRequestNode, HttpRequestNodeDependencies
from graphon.nodes.if_else.if_else_node import IfElseNode
from graphon.nodes.iteration.iteration_node import IterationNode
from graphon.nodes.iteration.iteration_start_node import IterationStartNode
from graphon.nodes.list_operator.node import ListOperatorNode
from graphon.nodes.llm import LLMNode
from graphon.nodes.llm.exc import LLMNodeError
from graphon.nodes.loop.loop_end_node import LoopEndNode
from graphon.nodes.loop.loop_node import LoopNode
from graphon.nodes.loop.loop_start_node import LoopStartNode
from graphon.nodes.parameter_extractor.parameter_extractor_node import ParameterExtractorNode
from graphon.nodes.question_classifier import QuestionClassifierNode, QuestionClassifierNodeDependencies
from graphon.nodes.start import StartNode
from graphon.nodes.template_transform.template_transform_node import TemplateTransformNode
from graphon.nodes.variable_aggregator.variable_aggregator_node import VariableAggregatorNode
from graphon.nodes.variable_assigner.v1.node import VariableAssignerNode as AssignerV1
from graphon.nodes.variable_assigner.v2.node import VariableAssignerNode as AssignerV2
from graphon.runtime.init_params import InitParams
from graphon.runtime.runtime_state import RuntimeState
from graphon.template_rendering import Jinja2TemplateRenderer, TemplateRenderError

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.model import Endpoint, Model
from lastgood.targets.engine.sandbox import Sandbox, SandboxFailure
from lastgood.targets.engine.web import Web, WebRefused

_CODE_LIMITS = CodeNodeLimits(
    max_string_length=400_000,
    max_number=2**63 - 1,
    min_number=-(2**63),
    max_precision=20,
    max_depth=5,
    max_number_array_length=1_000,
    max_string_array_length=1_000,
    max_object_array_length=1_000,
)


class Start(StartNode):
    """Shows the inputs and the system variables, as Dify does; graphon's shows the whole pool, secrets too."""

    def _run(self) -> NodeRunResult:
        result = super()._run()
        system = self.runtime_state.variable_pool.get_by_prefix("sys")
        shown = {**result.inputs, **{f"sys.{name}": value for name, value in system.items()}}
        return NodeRunResult(status=result.status, inputs=shown, outputs=shown)


class TriggerData(BaseNodeData):
    """The data of a trigger node, which only whoever starts the run needs to understand."""


class Trigger(Node[TriggerData]):
    """A webhook or a schedule as the entry of a run. What it gives was put into the pool by whoever started that."""

    node_type = "trigger"
    execution_type = NodeExecutionType.ROOT

    @classmethod
    def version(cls) -> str:
        return "1"

    def _run(self) -> NodeRunResult:
        pool = self.runtime_state.variable_pool
        system = {f"sys.{name}": value for name, value in pool.get_by_prefix("sys").items()}
        given = {**pool.get_by_prefix(self.id), **system}
        return NodeRunResult(status=WorkflowNodeExecutionStatus.SUCCEEDED, inputs=given, outputs=given)


class WebhookTrigger(Trigger):
    """Started by a request."""

    node_type = "trigger-webhook"


class ScheduleTrigger(Trigger):
    """Started by the time."""

    node_type = "trigger-schedule"


class _Renderer(Jinja2TemplateRenderer):
    def __init__(self, sandbox: Sandbox, cancel: Cancel) -> None:
        self._sandbox = sandbox
        self._cancel = cancel

    def render_template(self, template: str, variables: Mapping[str, Any]) -> str:
        try:
            return self._sandbox.render(template, variables, self._cancel)
        except SandboxFailure as failure:
            raise TemplateRenderError(str(failure)) from None


class _Executor:
    def __init__(self, sandbox: Sandbox, cancel: Cancel) -> None:
        self._sandbox = sandbox
        self._cancel = cancel

    def execute(self, *, language: CodeLanguage, code: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._sandbox.call(code, inputs, self._cancel)

    def is_execution_error(self, error: Exception) -> bool:
        return isinstance(error, SandboxFailure)


class Files:
    """The files of a run: remote URLs only, fetched through the guarded client when a node wants their bytes."""

    multimodal_send_format = "url"

    def __init__(self, web: Web) -> None:
        self._web = web

    def download(self, file: File, /) -> bytes:
        try:
            answer = self._web.get(self.resolve_file_url(file=file))
            answer.raise_for_status()
        except (WebRefused, ValueError) as error:
            raise FileFetchError(str(error)) from None
        return answer.content

    def load_file_bytes(self, *, file: File) -> bytes:
        return self.download(file)

    def http_get(self, url: str, *, follow_redirects: bool = True) -> Any:
        return self._web.get(url, follow_redirects=follow_redirects)

    def resolve_file_url(self, *, file: File, for_external: bool = True) -> str:
        if file.transfer_method != FileTransferMethod.REMOTE_URL or not file.remote_url:
            raise ValueError("the embedded engine keeps no files: give a remote_url")
        return file.remote_url

    def __getattr__(self, name: str) -> Any:
        # The rest of graphon's file protocol serves uploads, which this engine does not take.
        raise AttributeError(f"the embedded engine keeps no files ({name})")


class _NoFiles:
    """Stands where graphon would store a file that a node received."""

    def create_file_by_raw(self, *, file_binary: bytes, mimetype: str, filename: str | None = None) -> Any:
        raise HttpRequestNodeError(f"the answer is a file ({mimetype}); the embedded engine keeps text answers only")

    def get_file_generator_by_tool_file_id(self, tool_file_id: str) -> tuple[None, None]:
        return None, None

    def build_from_mapping(self, *, mapping: Mapping[str, Any]) -> File:
        raise HttpRequestNodeError("the embedded engine keeps text answers only")

    def save_binary_string(
        self, data: bytes, mime_type: str, file_type: FileType, extension_override: str | None = None
    ) -> File:
        raise LLMNodeError(f"the model answered with a file ({mime_type}); the embedded engine keeps text only")

    def save_remote_url(self, url: str, file_type: FileType) -> File:
        raise LLMNodeError("the model answered with a file; the embedded engine keeps text only")


class _Prompts:
    """How a model node shows its prompt in process_data."""

    def serialize(self, *, model_mode: Any, prompt_messages: Any) -> list[dict[str, Any]]:
        return [{"role": m.role.value, "text": m.get_text_content(), "files": []} for m in prompt_messages]


@dataclass(frozen=True, slots=True)
class Tools:
    """What the nodes of one run work with."""

    sandbox: Sandbox
    web: Web
    endpoint: Endpoint
    cancel: Cancel
    memory: PromptMessageMemory | None = None


type _Builder = Callable[["NodeFactory", dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class NodeFactory:
    """Makes the nodes of one frame of one run (graphon's protocol of that name)."""

    tools: Tools
    init_params: InitParams
    runtime_state: RuntimeState

    def with_runtime_state(self, runtime_state: RuntimeState) -> "NodeFactory":
        return replace(self, runtime_state=runtime_state)

    def with_graph_config(self, graph_config: Mapping[str, Any]) -> "NodeFactory":
        return replace(self, init_params=self.init_params.model_copy(update={"graph_config": graph_config}))

    def validate_node(self, node_config: NodeConfigDict) -> NodeExecutionType:
        data = _data(node_config)
        node_class, _ = _kind(data)
        node_class.validate_node_data(data)
        return node_class.execution_type

    def create_node(self, node_config: NodeConfigDict) -> Node[Any]:
        data = _data(node_config)
        node_class, extras = _kind(data)
        made: Node[Any] = node_class(
            str(node_config["id"]),
            node_class.validate_node_data(data),
            init_params=self.init_params,
            runtime_state=self.runtime_state,
            **(extras(self, data) if extras else {}),
        )
        return made

    def _code(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"code_executor": _Executor(self.tools.sandbox, self.tools.cancel), "code_limits": _CODE_LIMITS}

    def _template(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"jinja2_template_renderer": self._renderer()}

    def _http(self, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "http_request_config": build_http_request_config(),
            "dependencies": HttpRequestNodeDependencies(
                tool_file_manager_factory=_NoFiles,
                file_manager=Files(self.tools.web),
                file_reference_factory=_NoFiles(),
                http_client=self.tools.web,
            ),
        }

    def _llm(self, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "model_instance": self._model(data),
            "memory": self.tools.memory if data.get("memory") else None,
            "llm_file_saver": _NoFiles(),
            "prompt_message_serializer": _Prompts(),
            "jinja2_template_renderer": self._renderer(),
            "default_query_selector": ("sys", "query"),
        }

    def _classifier(self, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "dependencies": QuestionClassifierNodeDependencies(
                model_instance=self._model(data),
                template_renderer=self._renderer(),
                llm_file_saver=_NoFiles(),
                memory=self.tools.memory if data.get("memory") else None,
                prompt_message_serializer=_Prompts(),
            )
        }

    def _extractor(self, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "model_instance": self._model(data),
            "memory": self.tools.memory if data.get("memory") else None,
            "prompt_message_serializer": _Prompts(),
        }

    def _renderer(self) -> _Renderer:
        return _Renderer(self.tools.sandbox, self.tools.cancel)

    def _model(self, data: dict[str, Any]) -> Any:  # graphon's protocol of a model has overloads that say no more
        model = data.get("model") or {}
        return Model(
            self.tools.endpoint,
            self.tools.cancel,
            provider=str(model.get("provider") or ""),
            name=str(model.get("name") or ""),
            parameters=model.get("completion_params") or {},
        )


def _data(node_config: NodeConfigDict) -> dict[str, Any]:
    data = node_config["data"]
    return data.model_dump(mode="python") if isinstance(data, BaseNodeData) else dict(data)


def _kind(data: dict[str, Any]) -> tuple[type[Node[Any]], _Builder | None]:
    """The node class for `data` and what it needs beside its data. Raises ValueError for an unknown type."""
    if data["type"] == "assigner":
        return (AssignerV2 if "items" in data else AssignerV1), None
    found = KINDS.get(data["type"])
    if found is None:
        raise ValueError(f"unknown node type {data['type']!r}")
    return found


KINDS: Mapping[str, tuple[type[Node[Any]], _Builder | None]] = {
    "start": (Start, None),
    "trigger-webhook": (WebhookTrigger, None),
    "trigger-schedule": (ScheduleTrigger, None),
    "end": (EndNode, None),
    "answer": (AnswerNode, None),
    "if-else": (IfElseNode, None),
    "iteration": (IterationNode, None),
    "iteration-start": (IterationStartNode, None),
    "loop": (LoopNode, None),
    "loop-start": (LoopStartNode, None),
    "loop-end": (LoopEndNode, None),
    "list-operator": (ListOperatorNode, None),
    "variable-aggregator": (VariableAggregatorNode, None),
    "variable-assigner": (VariableAggregatorNode, None),
    "assigner": (AssignerV2, None),
    "template-transform": (TemplateTransformNode, NodeFactory._template),
    "code": (CodeNode, NodeFactory._code),
    "http-request": (HttpRequestNode, NodeFactory._http),
    "llm": (LLMNode, NodeFactory._llm),
    "question-classifier": (QuestionClassifierNode, NodeFactory._classifier),
    "parameter-extractor": (ParameterExtractorNode, NodeFactory._extractor),
}
"""Every node type that runs here: its class, and what makes its extra arguments."""
