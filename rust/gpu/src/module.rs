//! The kernels loaded into a context.

use std::ffi::{CString, c_uint, c_void};
use std::ptr;

use cudarc::driver::sys::{CUfunction, CUjit_option, CUmodule};

use crate::device::{Capability, Context};
use crate::error::{Error, Result};
use crate::image;
use crate::kernel::Kernel;

/// Bytes for the log of the driver's compiler.
const LOG: usize = 2048;

/// A loaded image, and its kernels by [`Kernel`].
#[derive(Debug)]
pub(crate) struct Module {
    handle: CUmodule,
    functions: Vec<CUfunction>,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Module {}
// SAFETY: and from several at once.
unsafe impl Sync for Module {}

impl Module {
    /// Load the image for a device of this capability, and find every kernel in it. Then no launch
    /// loads code, which would invalidate a graph capture.
    pub fn load(context: &Context, capability: Capability, name: &str) -> Result<Self> {
        let image = image::for_device(capability, name)?;
        let _entered = context.enter_relaxed()?;
        let mut module = Self {
            handle: load(context, image)?,
            functions: Vec::new(),
        };
        match find_all(context, module.handle) {
            Ok(functions) => module.functions = functions,
            Err(error) => {
                module.unload(context);
                return Err(error);
            }
        }
        Ok(module)
    }

    pub fn function(&self, kernel: Kernel) -> CUfunction {
        self.functions[kernel.index()]
    }

    /// Unload it; the context must be current. No kernel may be used afterwards.
    pub fn unload(&mut self, context: &Context) {
        self.functions.clear();
        // SAFETY: loaded once, unloaded once. Where the driver is gone there is nobody to tell.
        let _ = unsafe { (context.driver.unload_module)(self.handle) };
    }
}

fn load(context: &Context, image: &[u8]) -> Result<CUmodule> {
    let mut log = vec![0u8; LOG];
    let mut options = [
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
    ];
    let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG as *mut c_void];
    let mut handle = ptr::null_mut();
    // SAFETY: the image is a whole cubin, or a PTX with a zero at its end; there are as many options
    // as values, and the log is as long as they say.
    let status = unsafe {
        (context.driver.load_module)(
            &mut handle,
            image.as_ptr().cast(),
            options.len() as c_uint,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    context
        .driver
        .check("cuModuleLoadDataEx", status)
        .map_err(|error| with_log(error, &log))?;
    Ok(handle)
}

/// The error with the log of the driver's compiler, if there is one.
fn with_log(error: Error, log: &[u8]) -> Error {
    let said = log.split(|byte| *byte == 0).next().unwrap_or_default();
    match String::from_utf8_lossy(said).trim() {
        "" => error,
        said => Error::new(error.kind(), format!("{} ({said})", error.message())),
    }
}

fn find_all(context: &Context, module: CUmodule) -> Result<Vec<CUfunction>> {
    let find = |kernel: Kernel| {
        let name = CString::new(kernel.name()).expect("no kernel's name has a zero in it");
        let mut function = ptr::null_mut();
        // SAFETY: `function` is a place for a handle; the name ends with a zero.
        let status = unsafe { (context.driver.function)(&mut function, module, name.as_ptr()) };
        let call = format!("cuModuleGetFunction of {}", kernel.name());
        context.driver.check(&call, status).map(|()| function)
    };
    Kernel::all().map(find).collect()
}
