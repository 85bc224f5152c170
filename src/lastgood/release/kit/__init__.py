"""The emergency kit: files that roll a Dify app back while Lastgood itself is down. `making` fills them; `rollback`
is the script among them, which needs nothing but Python."""
