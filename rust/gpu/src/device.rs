//! Devices: the primary context of each, and the kernels loaded into it once.
//!
//! A device is opened at its first use and stays open until [`close_all`], or as long as a prepared
//! tensor uses it. The primary context is the one that torch and all other users of the runtime API
//! use. It is retained with its settings, made current around each call, and released after the module
//! was unloaded.

use std::ffi::{CStr, c_int, c_uint};
use std::marker::PhantomData;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdevice_attribute, CUpointer_attribute, CUstream, CUstreamCaptureMode,
};

use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::module::Module;
use crate::offsets::OffsetTables;

/// A stream of the caller's: the value of `torch.cuda.Stream.cuda_stream`; 0 for the default stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream(pub usize);

impl Stream {
    pub(crate) fn raw(self) -> CUstream {
        self.0 as CUstream
    }
}

/// The compute capability of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// 9 for sm_90.
    pub major: u32,
    /// 0 for sm_90.
    pub minor: u32,
}

/// The retained primary context of a device.
#[derive(Debug)]
pub(crate) struct Context {
    pub driver: &'static Driver,
    handle: CUdevice,
    context: CUcontext,
    /// The process that retained it: in a fork the handles are not valid.
    process: u32,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Context {}
// SAFETY: and from several at once.
unsafe impl Sync for Context {}

impl Context {
    fn retain(driver: &'static Driver, handle: CUdevice) -> Result<Self> {
        let mut context = ptr::null_mut();
        // SAFETY: `context` is a place for a handle, `handle` a device's.
        driver.check("cuDevicePrimaryCtxRetain", unsafe {
            (driver.retain_primary)(&mut context, handle)
        })?;
        Ok(Self {
            driver,
            handle,
            context,
            process: std::process::id(),
        })
    }

    /// Whether this is the process that retained it.
    pub fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// [`enter`](Self::enter) for calls that allocate, load or wait. While another stream is captured,
    /// such calls would invalidate the capture unless the thread is in relaxed capture mode.
    pub fn enter_relaxed(&self) -> Result<Entered<'_>> {
        let mut entered = self.enter()?;
        let mut mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED as c_uint;
        // SAFETY: `mode` is a place for an enumeration of one int.
        let status = unsafe { (self.driver.exchange_capture_mode)((&raw mut mode).cast()) };
        // If this fails and it matters, the following call fails, too.
        if status.is_success() {
            entered.capture_mode = Some(mode);
        }
        Ok(entered)
    }

    /// Make the context current on this thread, until the result is dropped.
    pub fn enter(&self) -> Result<Entered<'_>> {
        if !self.is_ours() {
            return Err(Error::new(
                ErrorKind::Forked,
                "this process was forked from one that had used CUDA, which a fork cannot: start it \
                 by \"spawn\" (multiprocessing.get_context(\"spawn\"))",
            ));
        }
        let driver = self.driver;
        let mut current = ptr::null_mut();
        // SAFETY: `current` is a place for a handle.
        driver.check("cuCtxGetCurrent", unsafe { (driver.current)(&mut current) })?;
        let pushed = current != self.context;
        if pushed {
            // SAFETY: the context is retained.
            driver.check("cuCtxPushCurrent", unsafe { (driver.push)(self.context) })?;
        }
        Ok(Entered {
            context: self,
            pushed,
            capture_mode: None,
            here: PhantomData,
        })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: retained once, released once. Where the driver is gone already there is nobody
            // to tell.
            let _ = unsafe { (self.driver.release_primary)(self.handle) };
        }
    }
}

/// The context is current on this thread as long as this lives.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    context: &'a Context,
    pushed: bool,
    /// The thread's capture mode before, if it was changed.
    capture_mode: Option<c_uint>,
    /// A context is current on one thread, so this type is not `Send`.
    here: PhantomData<*const ()>,
}

impl Entered<'_> {
    /// Wait until a stream has done all its work.
    pub fn wait(&self, stream: Stream) -> Result<()> {
        let driver = self.context.driver;
        // SAFETY: the stream is the caller's, of this context, which is current.
        driver.check("cuStreamSynchronize", unsafe {
            (driver.synchronize)(stream.raw())
        })
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(mut mode) = self.capture_mode {
            // SAFETY: `mode` is a place for an enumeration of one int.
            let _ = unsafe { (self.context.driver.exchange_capture_mode)((&raw mut mode).cast()) };
        }
        if self.pushed {
            let mut popped = ptr::null_mut();
            // SAFETY: it was pushed on this thread, which this value does not leave.
            let _ = unsafe { (self.context.driver.pop)(&mut popped) };
        }
    }
}

fn attribute_of(driver: &Driver, handle: CUdevice, attribute: CUdevice_attribute) -> Result<u32> {
    let mut value: c_int = 0;
    // SAFETY: `value` is a place for an int.
    driver.check("cuDeviceGetAttribute", unsafe {
        (driver.device_attribute)(&mut value, attribute, handle)
    })?;
    Ok(value.try_into().unwrap_or(0))
}

/// An open device, with the kernels in its primary context.
#[derive(Debug)]
pub struct Device {
    ordinal: usize,
    name: String,
    capability: Capability,
    multiprocessors: u32,
    offset_tables: OffsetTables,
    /// Dropped before the context.
    module: Module,
    context: Context,
}

/// The devices that are open, as long as the process lives or until [`close_all`].
static OPEN: Mutex<Vec<Arc<Device>>> = Mutex::new(Vec::new());

fn open_devices() -> std::sync::MutexGuard<'static, Vec<Arc<Device>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Release all open devices. Each closes when no prepared tensor uses it any more: its module is
/// unloaded, then its context is released. The next use opens it again.
pub fn close_all() {
    let devices = std::mem::take(&mut *open_devices());
    drop(devices);
}

/// Number of CUDA devices of this machine.
pub fn count() -> Result<usize> {
    let driver = Driver::get()?;
    let mut count = 0;
    // SAFETY: `count` is a place for an int.
    driver.check("cuDeviceGetCount", unsafe {
        (driver.device_count)(&mut count)
    })?;
    Ok(count.try_into().unwrap_or(0))
}

/// Name and capability of a device, without opening it.
pub fn describe(ordinal: usize) -> Result<(String, Capability)> {
    let driver = Driver::get()?;
    let handle = handle_of(driver, ordinal)?;
    Ok((name_of(driver, handle)?, capability_of(driver, handle)?))
}

/// The number of the device that owns this memory; `None` for other memory.
pub fn device_of(pointer: u64) -> Result<Option<usize>> {
    let driver = Driver::get()?;
    let mut ordinal: c_int = 0;
    let attribute = CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL;
    // SAFETY: `ordinal` is a place for an int, and any number may be asked about.
    let status =
        unsafe { (driver.pointer_attribute)((&raw mut ordinal).cast(), attribute, pointer) };
    Ok(match driver.check("cuPointerGetAttribute", status) {
        Ok(()) => usize::try_from(ordinal).ok(),
        Err(_) => None,
    })
}

impl Device {
    /// The device of this number, opened at its first use.
    ///
    /// Opening loads the kernels, which takes milliseconds, or seconds where the driver has to
    /// compile them; it must not happen while a graph is captured.
    pub fn open(ordinal: usize) -> Result<Arc<Self>> {
        // Held while a device is opened, so that no other thread loads a second module.
        let mut open = open_devices();
        if let Some(device) = open.iter().find(|device| device.ordinal == ordinal) {
            return Ok(device.clone());
        }
        let device = Arc::new(Self::new(ordinal)?);
        open.push(device.clone());
        Ok(device)
    }

    fn new(ordinal: usize) -> Result<Self> {
        let driver = Driver::get()?;
        let handle = handle_of(driver, ordinal)?;
        let name = name_of(driver, handle)?;
        let capability = capability_of(driver, handle)?;
        let multiprocessors = attribute_of(
            driver,
            handle,
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        )?;
        let context = Context::retain(driver, handle)?;
        // Nothing after the module can fail, because only the device unloads it.
        Ok(Self {
            ordinal,
            module: Module::load(&context, capability, &name)?,
            multiprocessors,
            offset_tables: OffsetTables::default(),
            name,
            capability,
            context,
        })
    }

    /// Its number in the driver's order.
    pub fn ordinal(&self) -> usize {
        self.ordinal
    }

    /// The name that its manufacturer gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its compute capability.
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// How many multiprocessors it has.
    pub fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    pub(crate) fn offset_tables(&self) -> &OffsetTables {
        &self.offset_tables
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    /// Wait until a stream has done all its work.
    pub fn wait(&self, stream: Stream) -> Result<()> {
        self.context.enter_relaxed()?.wait(stream)
    }

    /// An error if a graph is being captured on `stream`.
    pub(crate) fn refuse_capture(&self, stream: Stream) -> Result<()> {
        let driver = self.context.driver;
        let _entered = self.context.enter()?;
        let mut capturing: c_uint = 0;
        // SAFETY: `capturing` is a place for an enumeration of one int; the stream is the caller's.
        driver.check("cuStreamIsCapturing", unsafe {
            (driver.capturing)(stream.raw(), (&raw mut capturing).cast())
        })?;
        if capturing == 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Capture,
            "a CUDA graph is being captured on this stream, and the tensor was not prepared for its \
             device yet: call it once before the capture",
        ))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Ok(_entered) = self.context.enter_relaxed() {
            self.module.unload(&self.context);
        }
    }
}

fn handle_of(driver: &Driver, ordinal: usize) -> Result<CUdevice> {
    let number = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
    let mut handle = 0;
    // SAFETY: `handle` is a place for a device's handle.
    driver.check(&format!("cuDeviceGet of device {ordinal}"), unsafe {
        (driver.device)(&mut handle, number)
    })?;
    Ok(handle)
}

fn capability_of(driver: &Driver, handle: CUdevice) -> Result<Capability> {
    let number = |attribute| attribute_of(driver, handle, attribute);
    Ok(Capability {
        major: number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        minor: number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    })
}

fn name_of(driver: &Driver, handle: CUdevice) -> Result<String> {
    let mut name = [0u8; 256];
    // SAFETY: there are so many places, and the driver ends the name with a zero among them.
    driver.check("cuDeviceGetName", unsafe {
        (driver.device_name)(name.as_mut_ptr().cast(), name.len() as c_int, handle)
    })?;
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}
