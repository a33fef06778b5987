"""The bibliography: BibTeX entries, and the words by which a docstring's `Source:` section names each."""

from typing import NamedTuple


class Reference(NamedTuple):
    """One entry.

    Attributes:
        key: the entry's BibTeX key.
        marks: strings one of which stands wherever the work is cited; an arXiv number first, where it has one.
        kind: the BibTeX type.
        fields: its fields, in order.
    """

    key: str
    marks: tuple[str, ...]
    kind: str
    fields: dict[str, str]

    @property
    def bibtex(self) -> str:
        """The entry as BibTeX."""
        lines = [f"  {name:<13} = {{{value}}}," for name, value in self.fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def _paper(key: str, number: str, author: str, title: str, year: int, venue: str = "") -> Reference:
    fields = {"author": author, "title": title, "year": str(year)}
    if venue:
        fields["booktitle"] = venue
    fields |= {"eprint": number, "archivePrefix": "arXiv"}
    return Reference(key, (f"arXiv:{number}",), "inproceedings" if venue else "article", fields)


def _article(key: str, mark: str, author: str, title: str, year: int, journal: str, **more: str) -> Reference:
    fields = {"author": author, "title": title, "year": str(year), "journal": journal, **more}
    return Reference(key, (mark,), "article", fields)


def _book(key: str, mark: str, author: str, title: str, year: int, publisher: str) -> Reference:
    return Reference(
        key, (mark,), "book", {"author": author, "title": title, "year": str(year), "publisher": publisher}
    )


SOFTWARE = Reference(
    "aetheory",
    (),
    "software",
    {"author": "{The aetheory developers}", "title": "aetheory: the theory of autoencoders in {JAX}", "year": "2026"},
)

_ICML = "Proceedings of the {} International Conference on Machine Learning"

REFERENCES = (
    _paper(
        "golikov2026prism",
        "2606.05335",
        "Golikov, Eugene and Gusev, Yaroslav and Yarotsky, Dmitry",
        "A prism hierarchy of learning regimes in large linear autoencoders",
        2026,
    ),
    _paper(
        "yarotsky2026gradient",
        "2602.04548",
        "Yarotsky, Dmitry and Golikov, Eugene and Gusev, Yaroslav",
        "Gradient flow through diagram expansions: learning regimes and explicit solutions",
        2026,
    ),
    _paper(
        "shevchenko2023fundamental",
        "2212.13468",
        'Shevchenko, Aleksandr and K{\\"o}gler, Kevin and Hassani, Hamed and Mondelli, Marco',
        "Fundamental limits of two-layer autoencoders, and achieving them with gradient methods",
        2023,
        _ICML.format("40th"),
    ),
    _paper(
        "kogler2024compression",
        "2402.05013",
        'K{\\"o}gler, Kevin and Shevchenko, Aleksandr and Hassani, Hamed and Mondelli, Marco',
        "Compression of structured data with autoencoders: provable benefit of nonlinearities and depth",
        2024,
        _ICML.format("41st"),
    ),
    _paper(
        "theodosis2021convergence",
        "2102.07003",
        "Theodosis, Emmanouil and Tolooshams, Bahareh and Tankala, Pranay and Tasissa, Abiy and Ba, Demba",
        "On the convergence of group-sparse autoencoders",
        2021,
    ),
    _paper(
        "dumitriu2002matrix",
        "math-ph/0206043",
        "Dumitriu, Ioana and Edelman, Alan",
        "Matrix models for beta ensembles",
        2002,
    ),
    _paper(
        "xiao2017fashion",
        "1708.07747",
        "Xiao, Han and Rasul, Kashif and Vollgraf, Roland",
        "Fashion-{MNIST}: a novel image dataset for benchmarking machine learning algorithms",
        2017,
    ),
    _article(
        "bai2004clt",
        "Bai, J. Silverstein (2004)",
        "Bai, Z. D. and Silverstein, Jack W.",
        "{CLT} for linear spectral statistics of large-dimensional sample covariance matrices",
        2004,
        "The Annals of Probability",
        volume="32",
    ),
    _book(
        "bai2010spectral",
        "Spectral Analysis of Large Dimensional Random Matrices",
        "Bai, Zhidong and Silverstein, Jack W.",
        "Spectral analysis of large dimensional random matrices",
        2010,
        "Springer",
    ),
    _article(
        "marchenko1967distribution",
        "Marchenko, L. Pastur (1967)",
        "Marchenko, V. A. and Pastur, L. A.",
        "Distribution of eigenvalues for some sets of random matrices",
        1967,
        "Mathematics of the USSR-Sbornik",
        volume="1",
    ),
    _article(
        "golub1969calculation",
        "Golub, J. Welsch (1969)",
        "Golub, Gene H. and Welsch, John H.",
        "Calculation of {Gauss} quadrature rules",
        1969,
        "Mathematics of Computation",
        volume="23",
    ),
    _article(
        "takahasi1974double",
        "Takahasi, M. Mori (1974)",
        "Takahasi, Hidetosi and Mori, Masatake",
        "Double exponential formulas for numerical integration",
        1974,
        "Publications of the Research Institute for Mathematical Sciences",
        volume="9",
    ),
    _article(
        "bartlett1933theory",
        "Bartlett (1933)",
        "Bartlett, M. S.",
        "On the theory of statistical regression",
        1933,
        "Proceedings of the Royal Society of Edinburgh",
        volume="53",
    ),
    _article(
        "voiculescu1991limit",
        "Limit laws for random matrices and free products",
        "Voiculescu, Dan",
        "Limit laws for random matrices and free products",
        1991,
        "Inventiones Mathematicae",
        volume="104",
    ),
    _book(
        "cover2006elements",
        "Elements of Information Theory",
        "Cover, Thomas M. and Thomas, Joy A.",
        "Elements of information theory",
        2006,
        "Wiley",
    ),
    _article(
        "tropp2005designing",
        "Tropp, I. Dhillon, R. Heath, T. Strohmer (2005)",
        "Tropp, Joel A. and Dhillon, Inderjit S. and Heath, Robert W. and Strohmer, Thomas",
        "Designing structured tight frames via an alternating projection method",
        2005,
        "IEEE Transactions on Information Theory",
        volume="51",
    ),
    _article(
        "tropp2004greed",
        "Greed is good",
        "Tropp, Joel A.",
        "Greed is good: algorithmic results for sparse approximation",
        2004,
        "IEEE Transactions on Information Theory",
        volume="50",
    ),
    _article(
        "donoho2001uncertainty",
        "Uncertainty principles and ideal atomic decomposition",
        "Donoho, David L. and Huo, Xiaoming",
        "Uncertainty principles and ideal atomic decomposition",
        2001,
        "IEEE Transactions on Information Theory",
        volume="47",
    ),
    _article(
        "eldar2010block",
        "Block-sparse signals: uncertainty relations and efficient recovery",
        'Eldar, Yonina C. and Kuppinger, Patrick and B{\\"o}lcskei, Helmut',
        "Block-sparse signals: uncertainty relations and efficient recovery",
        2010,
        "IEEE Transactions on Signal Processing",
        volume="58",
    ),
    _article(
        "kuhn1955hungarian",
        "The Hungarian method",
        "Kuhn, Harold W.",
        "The {Hungarian} method for the assignment problem",
        1955,
        "Naval Research Logistics Quarterly",
        volume="2",
    ),
    _article(
        "schonemann1966generalized",
        "generalized solution of the orthogonal Procrustes problem",
        'Sch{\\"o}nemann, Peter H.',
        "A generalized solution of the orthogonal {Procrustes} problem",
        1966,
        "Psychometrika",
        volume="31",
    ),
    _article(
        "bradley2000kplane",
        "k-plane clustering",
        "Bradley, P. S. and Mangasarian, O. L.",
        "k-plane clustering",
        2000,
        "Journal of Global Optimization",
        volume="16",
    ),
    _article(
        "simon2013sparse",
        "A sparse-group lasso",
        "Simon, Noah and Friedman, Jerome and Hastie, Trevor and Tibshirani, Robert",
        "A sparse-group lasso",
        2013,
        "Journal of Computational and Graphical Statistics",
        volume="22",
    ),
    _article(
        "beck2009fast",
        "A fast iterative shrinkage-thresholding algorithm",
        "Beck, Amir and Teboulle, Marc",
        "A fast iterative shrinkage-thresholding algorithm for linear inverse problems",
        2009,
        "SIAM Journal on Imaging Sciences",
        volume="2",
    ),
    _book(
        "baker1996pade",
        "Padé approximants",
        "Baker, George A. and Graves-Morris, Peter",
        "Pad{\\'e} approximants",
        1996,
        "Cambridge University Press",
    ),
    _article(
        "domb1957susceptibility",
        "Domb, M. F. Sykes",
        "Domb, C. and Sykes, M. F.",
        "On the susceptibility of a ferromagnetic above the {Curie} point",
        1957,
        "Proceedings of the Royal Society of London A",
        volume="240",
    ),
    _article(
        "levenberg1944method",
        "Levenberg (1944)",
        "Levenberg, Kenneth",
        "A method for the solution of certain non-linear problems in least squares",
        1944,
        "Quarterly of Applied Mathematics",
        volume="2",
    ),
    _article(
        "marquardt1963algorithm",
        "Marquardt (1963)",
        "Marquardt, Donald W.",
        "An algorithm for least-squares estimation of nonlinear parameters",
        1963,
        "Journal of the Society for Industrial and Applied Mathematics",
        volume="11",
    ),
    _article(
        "schwarz1978estimating",
        "Schwarz (1978)",
        "Schwarz, Gideon",
        "Estimating the dimension of a model",
        1978,
        "The Annals of Statistics",
        volume="6",
    ),
    _article(
        "newey1987simple",
        "Newey, K. West (1987)",
        "Newey, Whitney K. and West, Kenneth D.",
        "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent covariance matrix",
        1987,
        "Econometrica",
        volume="55",
    ),
)
"""Every work that a `Source:` section cites, the papers whose results the library computes first."""
