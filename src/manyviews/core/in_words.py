"""How results show themselves: as lines where they are printed, as HTML in a notebook."""

from html import escape


class InWords:
    """A result that has `lines`; `print` and a notebook's cell show those."""

    def lines(self) -> list[str]:
        """For people."""
        raise NotImplementedError

    def __str__(self) -> str:
        """The lines, as the command line prints them."""
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f'<pre style="white-space:pre-wrap">{escape(str(self))}</pre>'
