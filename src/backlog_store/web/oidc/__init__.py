"""
Signing in by OpenID Connect: the file that sets it up, the provider as it is asked, tokens as they are verified.

What nobody asks for is not imported: the extra `oidc` is needed only where a service has such a file.
"""
