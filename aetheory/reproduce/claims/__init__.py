"""Claims about real data and stored runs, and what the library promises of itself."""

from aetheory.reproduce.claims import library, stored

CLAIMS = (*stored.CLAIMS, *library.CLAIMS)
