//! Errors of the host path, grouped by what a user would do about them.

use std::fmt;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no driver library on this machine.
    MissingDriver,
    /// The driver lacks an entry point, or is older than the kernels.
    OldDriver,
    /// There is no such device.
    NoDevice,
    /// The device is older than all architectures that the kernels are compiled for.
    Architecture,
    /// The driver refuses the compiled kernels.
    Image,
    /// The device's memory is full.
    OutOfMemory,
    /// An argument is outside what is accepted.
    InvalidArgument,
    /// An element type that the kernels do not support.
    Dtype,
    /// A tensor would have to be prepared while a CUDA graph is being captured.
    Capture,
    /// This process was forked from one that had used the device.
    Forked,
    /// Any other status code of the driver.
    Driver,
}

/// An error of the host path: its kind, and a sentence that says what was wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The result of the host path's calls.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was wrong, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The driver's status codes that have a meaning here.
///
/// They are plain numbers because newer drivers have new codes. For example 46 is newer than the lowest
/// version of the bindings, and an enumeration without it must never hold that value.
const OUT_OF_MEMORY: u32 = 2;
const NOT_INITIALIZED: u32 = 3;
const STUB_LIBRARY: u32 = 34;
const DEVICE_UNAVAILABLE: u32 = 46;
const NO_DEVICE: u32 = 100;
const INVALID_DEVICE: u32 = 101;
const INVALID_IMAGE: u32 = 200;
const NO_BINARY_FOR_GPU: u32 = 209;
const INVALID_PTX: u32 = 218;
const JIT_COMPILER_NOT_FOUND: u32 = 221;
const UNSUPPORTED_PTX_VERSION: u32 = 222;
const JIT_COMPILATION_DISABLED: u32 = 223;
const NOT_FOUND: u32 = 500;
const ILLEGAL_ADDRESS: u32 = 700;
const LAUNCH_OUT_OF_RESOURCES: u32 = 701;
const LAUNCH_FAILED: u32 = 719;
const SYSTEM_NOT_READY: u32 = 802;
const SYSTEM_DRIVER_MISMATCH: u32 = 803;
const COMPAT_NOT_SUPPORTED: u32 = 804;
const CAPTURE: std::ops::RangeInclusive<u32> = 900..=908;

/// The kind of error for a status code, and what the user can do.
pub(crate) fn meaning(status: u32) -> (ErrorKind, &'static str) {
    match status {
        OUT_OF_MEMORY => (
            ErrorKind::OutOfMemory,
            "free device memory (torch.cuda.empty_cache() gives back what torch keeps), or use a \
             smaller model or batch",
        ),
        NOT_INITIALIZED => (
            ErrorKind::Driver,
            "the driver does not start; a process forked from one that used CUDA cannot: start it \
             by \"spawn\"",
        ),
        STUB_LIBRARY => (
            ErrorKind::MissingDriver,
            "the libcuda that was found is the toolkit's stub for linking: put the driver's own \
             before it in LD_LIBRARY_PATH",
        ),
        NO_DEVICE => (
            ErrorKind::NoDevice,
            "look at `nvidia-smi` and at CUDA_VISIBLE_DEVICES",
        ),
        INVALID_DEVICE => (
            ErrorKind::NoDevice,
            "devices are numbered from 0, as CUDA_VISIBLE_DEVICES lists them",
        ),
        DEVICE_UNAVAILABLE => (
            ErrorKind::NoDevice,
            "another process has the device for itself, or it needs a reset: look at `nvidia-smi`",
        ),
        INVALID_IMAGE | NO_BINARY_FOR_GPU | INVALID_PTX | UNSUPPORTED_PTX_VERSION => (
            ErrorKind::Image,
            "the driver does not take the kernels: update the driver, or build the package again",
        ),
        JIT_COMPILER_NOT_FOUND | JIT_COMPILATION_DISABLED => (
            ErrorKind::Image,
            "this device is newer than the compiled kernels, and the driver's compiler \
             (libnvidia-ptxjitcompiler) is missing or switched off (CUDA_DISABLE_PTX_JIT)",
        ),
        NOT_FOUND => (
            ErrorKind::Image,
            "the kernels and this extension are not of the same build: build the package again",
        ),
        ILLEGAL_ADDRESS | LAUNCH_FAILED => (
            ErrorKind::Driver,
            "this or an earlier kernel failed, and the process cannot use the device any more: run \
             again with CUDA_LAUNCH_BLOCKING=1 or under compute-sanitizer to see which",
        ),
        LAUNCH_OUT_OF_RESOURCES => (
            ErrorKind::Driver,
            "the device cannot hold a block of this kernel: report it with the device's name",
        ),
        SYSTEM_NOT_READY => (
            ErrorKind::NoDevice,
            "the system is still starting up: is nvidia-fabricmanager running?",
        ),
        SYSTEM_DRIVER_MISMATCH => (
            ErrorKind::OldDriver,
            "libcuda and the kernel module are of different versions: reboot after a driver update",
        ),
        COMPAT_NOT_SUPPORTED => (
            ErrorKind::OldDriver,
            "the forward-compatible libcuda that was found does not support this device: take its \
             folder out of LD_LIBRARY_PATH",
        ),
        status if CAPTURE.contains(&status) => (
            ErrorKind::Capture,
            "run the call once before the graph is captured",
        ),
        _ => (ErrorKind::Driver, "look at `nvidia-smi` and at `dmesg`"),
    }
}
