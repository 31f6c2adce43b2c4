//! DLPack: import of other libraries' arrays, and export of ours.
//!
//! The structures are those of `dlpack.h`, version 0 (unversioned) and 1; see
//! <https://dmlc.github.io/dlpack/latest/c_api.html>.

use std::ffi::c_void;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::memory::Buffer;

/// Memory of a CUDA device.
const CUDA: i32 = 2;
/// Memory that moves between a CUDA device and the host.
const CUDA_MANAGED: i32 = 13;
/// The newest layout this module knows.
const MAJOR: u32 = 1;
/// The flag of an array that must not be written to.
const READ_ONLY: u64 = 1;

/// Element types, as (code, bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DataType {
    /// 0 integers, 1 unsigned ones, 2 floats, 4 bfloats.
    pub code: u8,
    /// Bits of an element.
    pub bits: u8,
    /// Elements of a vector: 1.
    pub lanes: u16,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Place {
    kind: i32,
    ordinal: i32,
}

#[derive(Debug)]
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    place: Place,
    axes: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor`: what a capsule named `dltensor` points to.
#[derive(Debug)]
#[repr(C)]
pub struct Managed {
    tensor: Tensor,
    owner: *mut c_void,
    delete: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// `DLManagedTensorVersioned`: what a capsule named `dltensor_versioned` points to.
#[derive(Debug)]
#[repr(C)]
pub struct Versioned {
    major: u32,
    minor: u32,
    owner: *mut c_void,
    delete: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: Tensor,
}

/// An array on a device, as another library describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Address of the first element.
    pub pointer: u64,
    /// The device's number.
    pub device: usize,
    /// The type of the elements.
    pub dtype: DataType,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Whether the elements lie in C order without gaps.
    pub contiguous: bool,
    /// Whether they must not be written to.
    pub read_only: bool,
}

impl Managed {
    /// What it describes.
    pub fn view(&self) -> Result<View> {
        self.tensor.view(false)
    }
}

/// Release the array that [`export`] described.
///
/// # Safety
/// `this` is a result of `export`, and nothing uses it after this call.
pub unsafe fn release(this: *mut Managed) {
    // SAFETY: by the caller's promise.
    unsafe { drop_export(this) };
}

impl Versioned {
    /// What it describes.
    pub fn view(&self) -> Result<View> {
        if self.major > MAJOR {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "an array of DLPack {}.{}: up to {MAJOR} is understood",
                    self.major, self.minor
                ),
            ));
        }
        self.tensor.view(self.flags & READ_ONLY != 0)
    }
}

impl Tensor {
    fn view(&self, read_only: bool) -> Result<View> {
        let Place { kind, ordinal } = self.place;
        if kind != CUDA && kind != CUDA_MANAGED {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "an array on a device of DLPack's type {kind}: CUDA memory (2) is accepted"
                ),
            ));
        }
        let axes = usize::try_from(self.axes).unwrap_or(0);
        // SAFETY: the library that made it gives a length for every axis, and strides or none.
        let shape: Vec<usize> = unsafe { numbers(self.shape, axes) }
            .iter()
            .map(|length| usize::try_from(*length).unwrap_or(0))
            .collect();
        // SAFETY: as above.
        let strides = unsafe { numbers(self.strides, axes) };
        Ok(View {
            pointer: self.data as u64 + self.byte_offset,
            device: usize::try_from(ordinal).unwrap_or(usize::MAX),
            dtype: self.dtype,
            contiguous: strides.is_empty() || is_contiguous(&shape, strides),
            shape,
            read_only,
        })
    }
}

/// The numbers at an address; none if it is null.
///
/// # Safety
/// `count` numbers are readable there, unless it is null.
unsafe fn numbers<'a>(place: *const i64, count: usize) -> &'a [i64] {
    if place.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by the caller's promise.
    unsafe { std::slice::from_raw_parts(place, count) }
}

/// Whether elements with these strides, counted in elements, lie in C order without gaps.
pub fn is_contiguous(shape: &[usize], strides: &[i64]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut expected = 1i64;
    for (length, stride) in shape.iter().zip(strides).rev() {
        // The stride of an axis of one element is never used.
        if *length != 1 && *stride != expected {
            return false;
        }
        expected = expected.saturating_mul(*length as i64);
    }
    true
}

/// The data that an exported array keeps alive. `Managed` is the first field, so that both have the
/// same address.
#[repr(C)]
struct Export {
    managed: Managed,
    lengths: Vec<i64>,
    strides: Vec<i64>,
    buffer: Arc<Buffer>,
}

/// Export memory of this crate to another library, which calls `delete` when it no longer needs it.
///
/// The result has the unversioned layout, which every library reads.
pub fn export(buffer: &Arc<Buffer>, dtype: DataType, shape: &[usize]) -> *mut Managed {
    let lengths: Vec<i64> = shape.iter().map(|length| *length as i64).collect();
    let mut strides = vec![1i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * lengths[axis].max(1);
    }
    let mut export = Box::new(Export {
        managed: Managed {
            tensor: Tensor {
                data: buffer.pointer() as *mut c_void,
                place: Place {
                    kind: CUDA,
                    ordinal: buffer.device().ordinal() as i32,
                },
                axes: shape.len() as i32,
                dtype,
                shape: std::ptr::null_mut(),
                strides: std::ptr::null_mut(),
                byte_offset: 0,
            },
            owner: std::ptr::null_mut(),
            delete: Some(drop_export),
        },
        lengths,
        strides,
        buffer: buffer.clone(),
    });
    export.managed.tensor.shape = export.lengths.as_mut_ptr();
    export.managed.tensor.strides = export.strides.as_mut_ptr();
    Box::into_raw(export).cast()
}

unsafe extern "C" fn drop_export(this: *mut Managed) {
    // SAFETY: `this` is what `export` gave, and nobody uses it any more.
    drop(unsafe { Box::from_raw(this.cast::<Export>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_of_axes_of_one_do_not_matter() {
        assert!(is_contiguous(&[2, 1, 3], &[3, 99, 1]));
        assert!(is_contiguous(&[], &[]));
        assert!(is_contiguous(&[0, 3], &[7, 7]));
        assert!(!is_contiguous(&[2, 3], &[1, 2]));
        assert!(!is_contiguous(&[2, 3], &[6, 2]));
    }

    fn described(kind: i32, strides: Option<&mut [i64]>) -> Result<View> {
        let mut shape = [2, 3];
        let managed = Managed {
            tensor: Tensor {
                data: 0x1000 as *mut c_void,
                place: Place { kind, ordinal: 1 },
                axes: 2,
                dtype: DataType {
                    code: 2,
                    bits: 16,
                    lanes: 1,
                },
                shape: shape.as_mut_ptr(),
                strides: strides.map_or(std::ptr::null_mut(), <[i64]>::as_mut_ptr),
                byte_offset: 32,
            },
            owner: std::ptr::null_mut(),
            delete: None,
        };
        managed.view()
    }

    #[test]
    fn a_view_says_where_and_what_it_is() {
        let view = described(CUDA, None).unwrap();
        assert_eq!((view.pointer, view.device), (0x1020, 1));
        assert_eq!(view.shape, [2, 3]);
        assert!(view.contiguous);
        assert!(described(CUDA, Some(&mut [3, 1])).unwrap().contiguous);
        assert!(!described(CUDA, Some(&mut [1, 2])).unwrap().contiguous);
    }

    #[test]
    fn memory_of_the_host_is_refused() {
        let error = described(1, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
