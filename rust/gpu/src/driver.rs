//! The CUDA driver library: found, opened and checked at the first call.
//!
//! `cudarc` finds and opens the library. Its wrappers are not used, for two reasons. They look up a
//! symbol at its first use and panic if it is missing. They return status codes as an enumeration,
//! which may lack the codes of newer drivers. So all entry points are looked up here at once, and
//! status codes are plain numbers.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUfunction, CUjit_option, CUmodule,
    CUpointer_attribute, CUstream, CUstreamCaptureMode, CUstreamCaptureStatus,
};

use crate::error::{Error, ErrorKind, Result, meaning};

/// The oldest driver that loads the compiled kernels, as a number of `cuDriverGetVersion`.
const OLDEST: c_int = 12_000;

/// The driver's status code: 0, or the number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Status(c_uint);

impl Status {
    /// Whether the call succeeded.
    pub fn is_success(self) -> bool {
        self.0 == 0
    }
}

macro_rules! entry_points {
    (
        calls { $($name:ident = $symbol:ident ($($argument:ty),* $(,)?);)* }
        // Entry points that take a status code, which is a number here and an enumeration in the
        // bindings.
        answers { $($answer:ident = $answer_symbol:ident;)* }
    ) => {
        /// The entry points in use.
        #[derive(Debug)]
        pub(crate) struct Driver {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> Status,)*
            $($answer: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,)*
        }

        /// The symbols of the entry points in use.
        pub const SYMBOLS: &[&str] = &[$(stringify!($symbol),)* $(stringify!($answer_symbol)),*];

        // Checks that the arguments are those of the bindings, which are generated from cuda.h.
        const _: () = {
            $(let _: unsafe fn($($argument),*) -> sys::CUresult = sys::$symbol;)*
        };

        impl Driver {
            /// Look all symbols up in the library.
            fn look_up() -> Result<Self> {
                // SAFETY: the library was found to be there, so this does not panic; what runs when
                // it is opened is the driver's own.
                let library = unsafe { sys::culib() };
                Ok(Self {
                    $($name: look_up!(
                        library, $symbol, unsafe extern "C" fn($($argument),*) -> Status
                    ),)*
                    $($answer: look_up!(
                        library,
                        $answer_symbol,
                        unsafe extern "C" fn(Status, *mut *const c_char) -> Status
                    ),)*
                })
            }
        }
    };
}

macro_rules! look_up {
    ($library:expr, $symbol:ident, $signature:ty) => {{
        let name = concat!(stringify!($symbol), "\0").as_bytes();
        // SAFETY: the signature is that of the bindings, and the library stays open as long as the
        // process lives.
        let found = unsafe { $library.get::<$signature>(name) };
        *found.map_err(|_| missing_symbol(stringify!($symbol)))?
    }};
}

entry_points! {
    calls {
        init = cuInit(c_uint);
        version = cuDriverGetVersion(*mut c_int);
        device_count = cuDeviceGetCount(*mut c_int);
        device = cuDeviceGet(*mut CUdevice, c_int);
        device_name = cuDeviceGetName(*mut c_char, c_int, CUdevice);
        device_attribute = cuDeviceGetAttribute(*mut c_int, CUdevice_attribute, CUdevice);
        retain_primary = cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice);
        release_primary = cuDevicePrimaryCtxRelease_v2(CUdevice);
        current = cuCtxGetCurrent(*mut CUcontext);
        push = cuCtxPushCurrent_v2(CUcontext);
        pop = cuCtxPopCurrent_v2(*mut CUcontext);
        load_module = cuModuleLoadDataEx(
            *mut CUmodule, *const c_void, c_uint, *mut CUjit_option, *mut *mut c_void
        );
        unload_module = cuModuleUnload(CUmodule);
        function = cuModuleGetFunction(*mut CUfunction, CUmodule, *const c_char);
        allocate = cuMemAlloc_v2(*mut CUdeviceptr, usize);
        free = cuMemFree_v2(CUdeviceptr);
        upload = cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
        download = cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream);
        copy = cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, usize, CUstream);
        fill = cuMemsetD8Async(CUdeviceptr, c_uchar, usize, CUstream);
        synchronize = cuStreamSynchronize(CUstream);
        capturing = cuStreamIsCapturing(CUstream, *mut CUstreamCaptureStatus);
        exchange_capture_mode = cuThreadExchangeStreamCaptureMode(*mut CUstreamCaptureMode);
        pointer_attribute = cuPointerGetAttribute(*mut c_void, CUpointer_attribute, CUdeviceptr);
        launch = cuLaunchKernel(
            CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream,
            *mut *mut c_void, *mut *mut c_void
        );
    }
    answers {
        error_name = cuGetErrorName;
        error_string = cuGetErrorString;
    }
}

fn missing_symbol(symbol: &str) -> Error {
    Error::new(
        ErrorKind::OldDriver,
        format!(
            "the CUDA driver has no {symbol}: a driver of CUDA {} or later is needed",
            dotted(OLDEST)
        ),
    )
}

/// The version of CUDA that the driver is made for, such as 12.4.
///
/// # Errors
/// As every call: there is no driver, or it is too old for the kernels.
pub fn cuda_version() -> Result<String> {
    let driver = Driver::get()?;
    let mut version = 0;
    // SAFETY: `version` is a place for an int.
    driver.check("cuDriverGetVersion", unsafe {
        (driver.version)(&mut version)
    })?;
    Ok(dotted(version))
}

/// "12.4" for 12040.
fn dotted(version: c_int) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

impl Driver {
    /// The driver, opened and started at the first call.
    ///
    /// An error is not cached, so a library that is installed later is found.
    pub fn get() -> Result<&'static Self> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        if let Some(driver) = DRIVER.get() {
            return Ok(driver);
        }
        // SAFETY: what runs when a library of the driver's name is opened is the driver's own.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::new(
                ErrorKind::MissingDriver,
                "no CUDA driver library (libcuda.so) was found: install NVIDIA's driver, or put its \
                 folder into LD_LIBRARY_PATH",
            ));
        }
        let driver = Self::look_up()?;
        // SAFETY: cuInit may be called any number of times from any thread.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        let mut version = 0;
        // SAFETY: `version` is a place for an int.
        driver.check("cuDriverGetVersion", unsafe {
            (driver.version)(&mut version)
        })?;
        if version < OLDEST {
            return Err(Error::new(
                ErrorKind::OldDriver,
                format!(
                    "the driver is of CUDA {}: {} or later is needed for the compiled kernels",
                    dotted(version),
                    dotted(OLDEST)
                ),
            ));
        }
        Ok(DRIVER.get_or_init(|| driver))
    }

    /// The status code of `call` as a result.
    pub fn check(&self, call: &str, status: Status) -> Result<()> {
        if status.is_success() {
            Ok(())
        } else {
            Err(self.error(call, status))
        }
    }

    #[cold]
    fn error(&self, call: &str, status: Status) -> Error {
        let (kind, advice) = meaning(status.0);
        let name = self.word(self.error_name, status);
        let what = self.word(self.error_string, status);
        Error::new(
            kind,
            format!(
                "{call} answered {} {}({}): {advice}",
                status.0,
                name.map_or(String::new(), |name| format!("{name} ")),
                what.as_deref().unwrap_or("unknown to this driver"),
            ),
        )
    }

    fn word(
        &self,
        ask: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,
        status: Status,
    ) -> Option<String> {
        let mut text = ptr::null();
        // SAFETY: `text` is a place for a pointer; what is put there lives as long as the library.
        let known = unsafe { ask(status, &mut text) };
        (known.is_success() && !text.is_null()).then(|| {
            // SAFETY: the driver gave a string that ends with a zero.
            let text = unsafe { CStr::from_ptr(text) };
            text.to_string_lossy().into_owned()
        })
    }
}
