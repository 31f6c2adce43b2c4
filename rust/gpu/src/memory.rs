//! Device memory that this crate owns: what it derives from a tensor, and the arrays it gives to
//! callers who brought none. Memory of the caller's is never freed here.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::CUdeviceptr;

use crate::abi;
use crate::device::{Device, Stream};
use crate::error::Result;

/// Memory on a device; freed when it is dropped.
///
/// A collector may drop it while some stream is captured, which that survives. `cuMemFree` waits for what the device is doing, so nothing that still runs loses its memory.
#[derive(Debug)]
pub struct Buffer {
    device: Arc<Device>,
    pointer: CUdeviceptr,
    bytes: usize,
}

impl Buffer {
    /// New memory of so many bytes, aligned to 256; what is in it is unknown. None is allocated for
    /// no bytes.
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

    /// Copy what is there into `data`, which has as many bytes; complete before this returns.
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

    /// Its address on the device; 0 where it has no bytes.
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
        // In a fork the memory is the parent's; where the driver is gone there is nobody to tell.
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

/// Types that are their bytes: no padding, every pattern valid.
///
/// # Safety
/// As it says.
pub unsafe trait Plain: Copy {}
// SAFETY: integers and floats are their bytes.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
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
unsafe impl Plain for abi::Stream {}
