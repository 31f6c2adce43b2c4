"""An interpreter of PTX: runs the text that ptxas assembles, and finds what a GPU would forgive.

``source`` reads the text, ``memory`` is the device's memory, ``operation`` says what each
instruction computes, and ``machine`` runs a launch. What is not known raises :class:`Unknown`, when
the kernel is read and not only when it is reached.
"""

from .machine import Machine
from .memory import Fault, Memory
from .source import Kernel, Unknown

__all__ = ["Fault", "Kernel", "Machine", "Memory", "Unknown"]
