//! A compressed tensor on a device: its data there, and the launches of kernels.
//!
//! Preparation computes the tables of a tensor on the host, allocates, copies and waits. Later calls
//! only launch kernels. They neither allocate nor wait, so CUDA graphs can capture them. The caller
//! provides workspace memory, whose size can be queried.

mod lent;
mod target;
mod tile_rows;
mod tiles;
mod trellis;
mod winding;

use std::ops::Range;
use std::sync::Arc;

use hypercomp_core::codec::numbers::element::Dtype;
use hypercomp_core::codec::{CompressedTensor, Payload};

use crate::abi;
use crate::converted::Converted;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::kernel::Float;
use crate::tables::Tables;
pub use lent::{Lent, Span, Vectors};
use lent::{holds, invalid, put};
use target::Target;
use tile_rows::PreparedRows;
use trellis::PreparedTrellis;
use winding::PreparedWinding;

/// A compressed tensor that a device can decode and multiply by.
#[derive(Debug)]
pub struct PreparedTensor {
    device: Arc<Device>,
    shape: Vec<usize>,
    payload: Prepared,
}

#[derive(Debug)]
enum Prepared {
    Zeros,
    Raw(Converted),
    Trellis(Box<PreparedTrellis>),
    Winding(PreparedWinding),
}

/// The table of a tensor's streams, in the layout of `launch.h`; `None` unless the tensor has trellis
/// codes.
pub fn stream_table(tensor: &CompressedTensor) -> Option<Vec<abi::Stream>> {
    match tensor.payload() {
        Payload::Trellis(streams) => Some(Tables::new(streams, &tensor.stored_shape()).streams),
        _ => None,
    }
}

/// The names, from `to_parts`, of the parts that kernels read directly.
fn plane_names(payload: &Payload) -> &'static [&'static str] {
    match payload {
        Payload::Zeros | Payload::Raw(_) => &[],
        Payload::Trellis(_) => &["path", "cells"],
        Payload::Winding(_) => &["codes"],
    }
}

impl PreparedTensor {
    /// The parts of `tensor` that kernels read directly, so that the caller may lend them.
    pub fn planes(tensor: &CompressedTensor) -> &'static [&'static str] {
        plane_names(tensor.payload())
    }

    /// Put a tensor on a device. Complete when this returns; copies run on `stream`.
    ///
    /// # Errors
    /// [`ErrorKind::Capture`] while a graph is captured on `stream`, [`ErrorKind::OutOfMemory`], and
    /// other errors of the driver.
    pub fn new(device: &Arc<Device>, tensor: &CompressedTensor, stream: Stream) -> Result<Self> {
        // SAFETY: nothing is lent.
        unsafe { Self::with_planes(device, tensor, None, stream) }
    }

    /// [`new`](Self::new) with planes that are already on the device. `lent` has the whole part for
    /// each of [`planes`](Self::planes). Of the planes in `tensor` only the lengths are used.
    ///
    /// # Safety
    /// Every span is device memory that holds the plane as long as this lives. It is written before any
    /// call on a stream that uses it, in stream order.
    pub unsafe fn with_planes(
        device: &Arc<Device>,
        tensor: &CompressedTensor,
        lent: Lent<'_>,
        stream: Stream,
    ) -> Result<Self> {
        device.refuse_capture(stream)?;
        let payload = match tensor.payload() {
            Payload::Zeros => Prepared::Zeros,
            Payload::Raw(bytes) => Prepared::Raw(Converted::new(raw(bytes, tensor.dtype()))),
            Payload::Trellis(streams) => {
                let planes = [("path", &streams.path[..]), ("cells", &streams.cells[..])];
                let planes = put(device, planes, lent, stream)?;
                let shape = &tensor.stored_shape();
                let trellis = PreparedTrellis::new(device, streams, shape, planes, stream)?;
                Prepared::Trellis(Box::new(trellis))
            }
            Payload::Winding(winding) => {
                let [plane] = put(device, [("codes", winding.packed())], lent, stream)?;
                Prepared::Winding(PreparedWinding::new(device, winding, plane, stream)?)
            }
        };
        Ok(Self {
            device: device.clone(),
            shape: tensor.stored_shape(),
            payload,
        })
    }

    /// The device it is on.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Lengths of the axes, in the order in which they are stored.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no weight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether vectors can be multiplied without decoding the tensor first: a matrix of the trellis
    /// codec, of at least 128 columns, without a mask and without exact weights.
    pub fn multiplies(&self) -> bool {
        self.matrix(1).is_some()
    }

    /// Whether tensor cores multiply the codes by vectors of 16 bits: rows in tiles of at most 4 bits a
    /// weight that are one stream each, of a multiple of 256 columns, with W up to 12, and of none of 3.5
    /// bits at W = 12.
    pub fn by_tensor_cores(&self) -> bool {
        matches!(&self.payload, Prepared::Trellis(trellis) if trellis.rows().is_some())
    }

    fn matrix(&self, batch: u32) -> Option<abi::Matrix> {
        match &self.payload {
            Prepared::Trellis(trellis) => trellis.matrix.map(|m| abi::Matrix { batch, ..m }),
            _ => None,
        }
    }

    /// Bytes of workspace for decoding all weights.
    pub fn decode_workspace(&self, float: Float) -> usize {
        match &self.payload {
            Prepared::Trellis(trellis) if trellis.mask.is_some() => {
                trellis.firsts.last().map_or(0, |count| *count as usize) * float.size()
            }
            _ => 0,
        }
    }

    /// Bytes of workspace for a product with this many vectors of any type; it must be aligned to 16.
    pub fn product_workspace(&self, batch: usize) -> usize {
        let (Prepared::Trellis(trellis), Some(matrix)) = (&self.payload, self.matrix(0)) else {
            return 0;
        };
        if batch == 0 {
            return 0;
        }
        let image = abi::Matrix {
            batch: batch.min(abi::MOST_SLOTS as usize) as u32,
            ..matrix
        };
        match trellis.rows() {
            // The image is the first part.
            Some(_) => PreparedRows::workspace(&matrix, batch),
            None => 4 * image.image_floats() as usize,
        }
    }

    /// Put the data for decoding to this type on the device, before calls that must not allocate.
    pub fn warm(&self, float: Float, stream: Stream) -> Result<()> {
        if let Some(values) = self.converted() {
            values.on(&self.device, float, stream)?;
        }
        Ok(())
    }

    fn converted(&self) -> Option<&Converted> {
        match &self.payload {
            Prepared::Raw(values) => Some(values),
            Prepared::Trellis(trellis) => trellis.exact.as_ref().map(|exact| &exact.values),
            Prepared::Zeros | Prepared::Winding(_) => None,
        }
    }

    /// Whether a range can be decoded by itself: if the tensor has streams, a range of whole streams.
    pub fn decodes(&self, range: &Range<usize>) -> bool {
        match &self.payload {
            Prepared::Trellis(trellis) => trellis.streams_of(range).is_some(),
            _ => true,
        }
    }

    /// Decode the weights of a range of flat C-order indices to `out`, on `stream`. Only launches.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a range that is not within the tensor or that
    /// [`decodes`](Self::decodes) is not true of, for memory that is too short or not aligned;
    /// [`ErrorKind::Capture`] where exact or raw weights have to be put on the device first.
    ///
    /// # Safety
    /// `out` and `workspace` are device memory that nothing else uses, in stream order, until the
    /// launches are complete.
    pub unsafe fn decode(
        &self,
        float: Float,
        range: Range<usize>,
        out: Span,
        workspace: Span,
        stream: Stream,
    ) -> Result<()> {
        if range.start > range.end || range.end > self.len() {
            return Err(invalid(format!(
                "weights {range:?}: the tensor has 0..{}",
                self.len()
            )));
        }
        holds(out, range.len() * float.size(), float.size(), "the output")?;
        if range.is_empty() {
            return Ok(());
        }
        let _entered = self.device.context().enter()?;
        let target = Target {
            device: &self.device,
            float,
            out: out.pointer,
            stream,
        };
        match &self.payload {
            Prepared::Zeros => target.zeros(range.len()),
            Prepared::Raw(values) => target.raw(values, range),
            Prepared::Trellis(trellis) => trellis.decode(&target, range, workspace),
            Prepared::Winding(winding) => winding.decode(&target, range),
        }
    }

    /// The number of streams in a row, if [`decode_rows`](Self::decode_rows) can decode rows in any
    /// order, that is if the tensor [`multiplies`](Self::multiplies).
    pub fn streams_a_row(&self) -> Option<usize> {
        self.matrix(1).map(|matrix| matrix.pieces as usize)
    }

    /// Decode rows of the matrix, in any order, to `out`. Only launches.
    ///
    /// `table` has the entries of [`stream_table`] for the streams of the wanted rows, with their
    /// places in `out` as `first`. So rows can be chosen by indices on the device, without a copy to
    /// the host.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless it [`multiplies`](Self::multiplies), or for memory that is
    /// too short or not aligned.
    ///
    /// # Safety
    /// As for [`decode`](Self::decode), and `table` has such entries.
    pub unsafe fn decode_rows(
        &self,
        float: Float,
        table: Span,
        out: Span,
        stream: Stream,
    ) -> Result<()> {
        let (Prepared::Trellis(trellis), Some(matrix)) = (&self.payload, self.matrix(1)) else {
            return Err(invalid(format!(
                "rows of a tensor of shape {:?} are not decoded in any order: decode all",
                self.shape
            )));
        };
        let count = table.bytes / size_of::<abi::Stream>();
        let weights = count / matrix.pieces as usize * matrix.columns as usize;
        holds(out, weights * float.size(), float.size(), "the output")?;
        holds(table, table.bytes, 16, "the table")?;
        let _entered = self.device.context().enter()?;
        let target = Target {
            device: &self.device,
            float,
            out: out.pointer,
            stream,
        };
        let tensor = abi::Tensor {
            streams: table.pointer,
            ..trellis.tensor
        };
        let tiles = trellis.in_tiles();
        target.streams(&tensor, tiles, trellis.most_tiles, 0..count, 0, out.pointer)
    }

    /// Multiply by `batch` vectors x of as many elements as the matrix has columns, to vectors y of as
    /// many as it has rows, on `stream`. Only launches.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless it [`multiplies`](Self::multiplies), for a workspace
    /// that is too short, or memory that is not aligned.
    ///
    /// # Safety
    /// All are device memory with that many elements. Nothing else uses y and the workspace, in stream
    /// order, until the launches are complete.
    pub unsafe fn multiply(
        &self,
        float: Float,
        batch: usize,
        x: Vectors,
        y: Vectors,
        workspace: Span,
        stream: Stream,
    ) -> Result<()> {
        let (Prepared::Trellis(trellis), true) = (&self.payload, self.multiplies()) else {
            return Err(invalid(format!(
                "a tensor of shape {:?} has to be decoded before it can be multiplied by: only a \
                 trellis-coded matrix of at least 128 columns, without kept zeros or exact weights, \
                 is multiplied by as it is",
                self.shape
            )));
        };
        if batch == 0 {
            return Ok(());
        }
        holds(
            workspace,
            self.product_workspace(batch),
            16,
            "the workspace",
        )?;
        for (vectors, name) in [(x, "x"), (y, "y")] {
            if vectors.pointer == 0 || !vectors.pointer.is_multiple_of(float.size() as u64) {
                return Err(invalid(format!("{name} is not aligned to its elements")));
            }
        }
        let _entered = self.device.context().enter()?;
        let at_once = trellis.at_once(float);
        for first in (0..batch).step_by(at_once) {
            let vectors = (batch - first).min(at_once) as u32;
            let matrix = self.matrix(vectors).expect("it multiplies");
            let from = |v: Vectors| Vectors {
                pointer: v.pointer + first as u64 * v.stride * float.size() as u64,
                ..v
            };
            trellis.multiply(
                &self.device,
                float,
                matrix,
                from(x),
                from(y),
                workspace,
                stream,
            )?;
        }
        Ok(())
    }
}

/// The weights of a raw tensor.
fn raw(bytes: &[u8], dtype: Dtype) -> Vec<f64> {
    fn values<const N: usize>(bytes: &[u8], value: fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|b| value(*b)).collect()
    }
    match dtype {
        Dtype::F32 => values(bytes, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => values(bytes, f64::from_le_bytes),
        Dtype::F16 => values(bytes, |b| half::f16::from_le_bytes(b).into()),
        Dtype::Bf16 => values(bytes, |b| half::bf16::from_le_bytes(b).into()),
    }
}
