"""What caches may do with an answer."""


def cache_control(*, immutable: bool, private: bool) -> str:
    """The `Cache-Control` of an answer.

    Args:
        immutable: The address names an identity, so that its bytes never change; else every use
            asks again, which costs an answer without a body.
        private: Tokens are asked for: a cache shared by several people must not keep the answer,
            or who has no token gets it from there.
    """
    lifetime = "max-age=31536000, immutable" if immutable else "no-cache"
    if private:
        return f"private, {lifetime}"
    return f"public, {lifetime}" if immutable else lifetime
