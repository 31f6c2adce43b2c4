//! Device memory that this crate owns: data derived from a tensor, and result arrays of callers that
//! pass none. The caller's memory is never freed here.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::CUdeviceptr;

use crate::abi;
use crate::device::{Device, Stream};
use crate::error::Result;

/// Memory on a device; freed when it is dropped.
///
/// A garbage collector may drop it while a stream is captured; the capture stays valid. `cuMemFree`
/// waits until the device is idle, so no running kernel loses its memory.
#[derive(Debug)]
pub struct Buffer {
    device: Arc<Device>,
    pointer: CUdeviceptr,
    bytes: usize,
}

impl Buffer {
    /// New uninitialised memory of `bytes` bytes, aligned to 256. For 0 bytes nothing is allocated.
    pub fn new(device: &Arc<Device>, bytes: usize) -> Result<Self> {
        let mut pointer = 0;
        if bytes > 0 {
            let context = device.context();
            let _entered = context.enter_relaxed()?;
            // SAFETY: `pointer` is a place for a pointer.
            let status = unsafe { (context.driver.allocate)(&mut pointer, bytes) };
            context
                .driver
                .check(&format!("cuMemAlloc of {bytes} bytes"), status)?;
        }
        Ok(Self {
            device: device.clone(),
            pointer,
            bytes,
        })
    }

    /// New memory with a copy of `data`, complete before this returns.
    pub fn holding<T: Plain>(device: &Arc<Device>, data: &[T], stream: Stream) -> Result<Self> {
        let bytes = size_of_val(data);
        let buffer = Self::new(device, bytes)?;
        if bytes > 0 {
            let context = device.context();
            let entered = context.enter_relaxed()?;
            let source = data.as_ptr().cast::<c_void>();
            // SAFETY: both are `bytes` long, and `data` outlives the copy, which is waited for.
            context.driver.check("cuMemcpyHtoDAsync", unsafe {
                (context.driver.upload)(buffer.pointer, source, bytes, stream.raw())
            })?;
            entered.wait(stream)?;
        }
        Ok(buffer)
    }

    /// Copy the content into `data`, which has as many bytes; complete before this returns.
    pub fn read<T: Plain>(&self, data: &mut [T], stream: Stream) -> Result<()> {
        assert_eq!(
            size_of_val(data),
            self.bytes,
            "as many bytes as the buffer has"
        );
        if self.bytes == 0 {
            return Ok(());
        }
        let context = self.device.context();
        let entered = context.enter_relaxed()?;
        let target = data.as_mut_ptr().cast::<c_void>();
        // SAFETY: both are so long, any bytes are valid in `T`, and the copy is waited for.
        context.driver.check("cuMemcpyDtoHAsync", unsafe {
            (context.driver.download)(target, self.pointer, self.bytes, stream.raw())
        })?;
        entered.wait(stream)
    }

    /// The device it is on.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Its address on the device; 0 if it has no bytes.
    pub fn pointer(&self) -> u64 {
        self.pointer
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // In a fork the memory is the parent's. An error is ignored: at process exit the driver may be
        // unloaded.
        if self.pointer != 0
            && let Ok(_entered) = self.device.context().enter_relaxed()
        {
            // SAFETY: the memory was allocated here and is freed once.
            let _ = unsafe { (self.device.context().driver.free)(self.pointer) };
        }
    }
}

/// The bytes of numbers.
pub fn as_bytes<T: Plain>(data: &[T]) -> &[u8] {
    // SAFETY: so long is the slice, and every one of its bytes is part of a number.
    unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), size_of_val(data)) }
}

/// Types without padding for which every bit pattern is valid.
///
/// # Safety
/// The type has these properties.
pub unsafe trait Plain: Copy {}
// SAFETY: integers and floats are their bytes.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for i16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}
// SAFETY: numbers alone, without gaps between them: abi.rs has their offsets.
unsafe impl Plain for abi::Code {}
// SAFETY: as above.
unsafe impl Plain for abi::TileCode {}
// SAFETY: as above.
unsafe impl Plain for abi::Stream {}
