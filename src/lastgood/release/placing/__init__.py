"""Moving the pointer of a Dify app: what it serves, how it is moved, the steps of that, and whether it is in step.

`looking` asks Dify, `ways` plans, `steps` are the journal's steps on Dify, `standing` tells whether channel and app
agree, `redraft` puts a kept state back into a draft, `ties` looks at what is bound to an app."""
