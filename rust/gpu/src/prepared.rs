//! A compressed tensor on a device: what kernels read, put there once, and the launches.
//!
//! Preparing works out the tables of a tensor on the host, allocates, copies and waits. After that a
//! call only launches: it neither allocates nor waits, so that CUDA graphs can capture it. Memory
//! that a launch needs for itself is the caller's, of a size that is told beforehand.

use std::ops::Range;
use std::sync::Arc;

use hypercomp_core::codec::element::Dtype;
use hypercomp_core::codec::layout::Layout;
use hypercomp_core::codec::tensor::{CompressedTensor, Payload, Streams};
use hypercomp_core::codec::winding::Winding;

use crate::abi;
use crate::converted::Converted;
use crate::device::{Device, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Float, Kernel, arguments};
use crate::memory::Buffer;
use crate::offsets::OffsetTables;
use crate::tables::{self, Tables};

/// Memory of the caller's on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its address.
    pub pointer: u64,
    /// Its length in bytes.
    pub bytes: usize,
}

/// Vectors of the caller's on the device: one `stride` elements after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Address of the first.
    pub pointer: u64,
    /// Elements from one to the next.
    pub stride: u64,
}

/// A plane of codes: the caller's memory, or ours.
#[derive(Debug)]
enum Plane {
    Lent(Span),
    Ours(Buffer),
}

impl Plane {
    fn pointer(&self) -> u64 {
        match self {
            Self::Lent(span) => span.pointer,
            Self::Ours(buffer) => buffer.pointer(),
        }
    }
}

/// Planes that are on the device already, in the order of [`PreparedTensor::planes`].
pub type Lent<'a> = Option<&'a [Span]>;

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

#[derive(Debug)]
struct PreparedTrellis {
    layout: Layout,
    /// The first coded weight of every stream, and after the last the number of all.
    firsts: Vec<u64>,
    tiles: u32,
    tensor: abi::Tensor,
    matrix: Option<abi::Matrix>,
    mask: Option<[Buffer; 2]>,
    exact: Option<Exact>,
    /// What `tensor` points to.
    _held: ([Plane; 2], [Buffer; 2], Option<Arc<Buffer>>),
}

#[derive(Debug)]
struct Exact {
    places: Vec<usize>,
    on_device: Buffer,
    values: Converted,
}

#[derive(Debug)]
struct PreparedWinding {
    argument: abi::Winding,
    /// What `argument` points to.
    _held: (Plane, Buffer),
}

/// The table of a tensor's streams, as `launch.h` has it; `None` unless it is of the trellis codec.
pub fn stream_table(tensor: &CompressedTensor) -> Option<Vec<abi::Stream>> {
    match tensor.payload() {
        Payload::Trellis(streams) => Some(Tables::new(streams, tensor.shape()).streams),
        _ => None,
    }
}

/// The parts that kernels read as they are, for a payload: names of `to_parts`.
fn plane_names(payload: &Payload) -> &'static [&'static str] {
    match payload {
        Payload::Zeros | Payload::Raw(_) => &[],
        Payload::Trellis(_) => &["path", "cells"],
        Payload::Winding(_) => &["codes"],
    }
}

impl PreparedTensor {
    /// The parts of `tensor` that are read on the device as they are, and so may be lent.
    pub fn planes(tensor: &CompressedTensor) -> &'static [&'static str] {
        plane_names(tensor.payload())
    }

    /// Put a tensor on a device. Complete when this returns; `stream` is what copies go through.
    ///
    /// # Errors
    /// [`ErrorKind::Capture`] while a graph is captured on `stream`,
    /// [`ErrorKind::OutOfMemory`], and whatever the driver answers.
    pub fn new(device: &Arc<Device>, tensor: &CompressedTensor, stream: Stream) -> Result<Self> {
        // SAFETY: nothing is lent.
        unsafe { Self::with_planes(device, tensor, None, stream) }
    }

    /// The same with planes that are on the device already: `lent` has the whole part for each of
    /// [`planes`](Self::planes), and path and cells of `tensor` itself are not read, only measured.
    ///
    /// # Safety
    /// Every span is memory of the device that holds the plane, complete in the order of the streams
    /// that calls will be made on, for as long as this lives.
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
                let shape = tensor.shape();
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
            shape: tensor.shape().to_vec(),
            payload,
        })
    }

    /// The device it is on.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Lengths of the axes.
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

    fn matrix(&self, batch: u32) -> Option<abi::Matrix> {
        match &self.payload {
            Prepared::Trellis(trellis) => trellis.matrix.map(|m| abi::Matrix { batch, ..m }),
            _ => None,
        }
    }

    /// Bytes of memory that decoding all weights needs beside the result.
    pub fn decode_workspace(&self, float: Float) -> usize {
        match &self.payload {
            Prepared::Trellis(trellis) if trellis.mask.is_some() => {
                trellis.firsts.last().map_or(0, |count| *count as usize) * float.size()
            }
            _ => 0,
        }
    }

    /// Bytes of memory that a product of this many vectors needs beside the result, aligned to 16.
    pub fn product_workspace(&self, batch: usize) -> usize {
        self.matrix(batch.min(AT_ONCE) as u32)
            .filter(|matrix| matrix.batch > 0)
            .map_or(0, |matrix| 4 * matrix.image_floats() as usize)
    }

    /// Put what decoding to this type needs on the device, for calls that must not do so themselves.
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

    /// Whether the weights of a range can be decoded without those around it: a range of whole
    /// streams, where there are streams.
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
    /// `out` and `workspace` are memory of the device, which nothing else uses in the order of
    /// `stream` until the launches are done.
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

    /// Streams that a row of the matrix is cut into, where rows can be decoded in any order by
    /// [`decode_rows`](Self::decode_rows): where the tensor [`multiplies`](Self::multiplies).
    pub fn streams_a_row(&self) -> Option<usize> {
        self.matrix(1).map(|matrix| matrix.pieces as usize)
    }

    /// Decode rows of the matrix, in any order, to `out`. Only launches.
    ///
    /// `table` has the rows of [`stream_table`] of the streams of the rows that are wanted, with
    /// their places in `out` as `first`. So a device chooses rows by numbers that the host never sees.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless it [`multiplies`](Self::multiplies), or for memory that is
    /// too short or not aligned.
    ///
    /// # Safety
    /// As of [`decode`](Self::decode); the table says what is promised here.
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
        target.streams(&tensor, trellis.tiles, 0..count, 0, out.pointer)
    }

    /// Multiply by `batch` vectors x of as many elements as the matrix has columns, to vectors y of as
    /// many as it has rows, on `stream`. Only launches.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless it [`multiplies`](Self::multiplies), for a workspace
    /// that is too short, or memory that is not aligned.
    ///
    /// # Safety
    /// All are memory of the device that holds so many elements; y and the workspace are used by
    /// nothing else in the order of `stream` until the launches are done.
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
        for first in (0..batch).step_by(AT_ONCE) {
            let vectors = (batch - first).min(AT_ONCE) as u32;
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

/// Vectors that a product takes at a time.
pub const AT_ONCE: usize = 8;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// An error unless memory is so long and aligned.
fn holds(memory: Span, bytes: usize, alignment: usize, what: &str) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    if memory.bytes < bytes || memory.pointer == 0 {
        return Err(invalid(format!(
            "{what} has {} bytes: {bytes} are needed",
            memory.bytes
        )));
    }
    if !memory.pointer.is_multiple_of(alignment as u64) {
        return Err(invalid(format!(
            "{what} begins at {:#x}: a multiple of {alignment} is needed",
            memory.pointer
        )));
    }
    Ok(())
}

/// The planes on the device: copies, or the ends of the parts that are lent. (The part of the
/// published method has a header before its codes, of a multiple of four bytes.)
fn put<const N: usize>(
    device: &Arc<Device>,
    planes: [(&str, &[u8]); N],
    lent: Lent<'_>,
    stream: Stream,
) -> Result<[Plane; N]> {
    let mut found = Vec::with_capacity(N);
    for (i, (name, bytes)) in planes.into_iter().enumerate() {
        found.push(match lent {
            None => Plane::Ours(Buffer::holding(device, bytes, stream)?),
            Some(spans) => {
                let span = spans.get(i).copied().unwrap_or_default();
                // Kernels read planes in words.
                holds(span, bytes.len(), 4, name)?;
                Plane::Lent(Span {
                    pointer: span.pointer + (span.bytes - bytes.len()) as u64,
                    bytes: bytes.len(),
                })
            }
        });
    }
    Ok(found.try_into().expect("as many as there are"))
}

/// The weights of a tensor that is kept as it is.
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

/// Where decoded weights go.
struct Target<'a> {
    device: &'a Arc<Device>,
    float: Float,
    out: u64,
    stream: Stream,
}

impl Target<'_> {
    fn zeros(&self, count: usize) -> Result<()> {
        let driver = self.device.context().driver;
        // SAFETY: the caller promised memory for so many weights.
        driver.check("cuMemsetD8Async", unsafe {
            (driver.fill)(self.out, 0, count * self.float.size(), self.stream.raw())
        })
    }

    fn raw(&self, values: &Converted, range: Range<usize>) -> Result<()> {
        let size = self.float.size();
        let from = values.on(self.device, self.float, self.stream)? + (range.start * size) as u64;
        let driver = self.device.context().driver;
        // SAFETY: `values` has the range, and the caller promised memory for it.
        driver.check("cuMemcpyDtoDAsync", unsafe {
            (driver.copy)(self.out, from, range.len() * size, self.stream.raw())
        })
    }

    /// Decode the weights of streams that have codes, the one with number `origin` to `out`.
    fn streams(
        &self,
        tensor: &abi::Tensor,
        tiles: u32,
        streams: Range<usize>,
        origin: u64,
        out: u64,
    ) -> Result<()> {
        let dtype = self.float.number();
        let most = (MOST_BLOCKS / u64::from(tiles)) as usize;
        for first in streams.clone().step_by(most) {
            let count = (streams.end - first).min(most) as u64;
            let first = first as u64;
            let mut arguments = arguments![*tensor, first, tiles, origin, out, dtype];
            let blocks = count * u64::from(tiles);
            // SAFETY: these are the arguments of hc_decode; the tables are held by whose tensor it
            // is, and the caller promised the output.
            unsafe { self.launch(Kernel::DECODE, blocks, TILE_THREADS, &mut arguments)? }
        }
        Ok(())
    }

    /// # Safety
    /// As of [`Kernel::launch`].
    unsafe fn launch(
        &self,
        kernel: Kernel,
        blocks: u64,
        threads: u32,
        arguments: &mut [*mut std::ffi::c_void],
    ) -> Result<()> {
        // SAFETY: by the caller's promise.
        unsafe { kernel.launch(self.device, self.stream, blocks, threads, arguments) }
    }
}

/// Threads of the kernels that work on one weight or one row each, and of the others.
const FLAT_THREADS: u32 = 256;
const TILE_THREADS: u32 = 64;
/// Rows that a block of the product multiplies at a time, a warp each.
const ROWS_A_BLOCK: u32 = 16;
/// Blocks of the product that a multiprocessor holds at once; each goes on to the next rows.
const BLOCKS_A_MULTIPROCESSOR: u32 = 2;
/// Blocks of one launch.
const MOST_BLOCKS: u64 = i32::MAX as u64;

impl PreparedTrellis {
    fn new(
        device: &Arc<Device>,
        streams: &Streams,
        shape: &[usize],
        planes: [Plane; 2],
        stream: Stream,
    ) -> Result<Self> {
        let tables = Tables::new(streams, shape);
        let held = [
            Buffer::holding(device, &tables.streams, stream)?,
            Buffer::holding(device, &tables.codes, stream)?,
        ];
        let mask = match &streams.mask {
            None => None,
            Some(mask) => {
                let (words, ranks) = tables::mask(mask);
                Some([
                    Buffer::holding(device, &words, stream)?,
                    Buffer::holding(device, &ranks, stream)?,
                ])
            }
        };
        let exact = match streams.exceptions.is_empty() {
            true => None,
            false => Some(Exact::new(device, streams, shape, stream)?),
        };
        let mut tensor = abi::Tensor {
            path: planes[0].pointer(),
            cells: planes[1].pointer(),
            streams: held[0].pointer(),
            codes: held[1].pointer(),
            ..tables.tensor
        };
        let offsets = match tables.matrix {
            None => None,
            Some(_) => OffsetTables::of(device, &tensor, tables.rate, stream)?,
        };
        if let Some(offsets) = &offsets {
            tensor.table = offsets.pointer();
            tensor.table_rate = tables.rate;
        }
        let coded: u64 = tables.streams.iter().map(|row| u64::from(row.length)).sum();
        let firsts = tables.streams.iter().map(|row| row.first);
        Ok(Self {
            firsts: firsts.chain([coded]).collect(),
            layout: tables.layout,
            tiles: tables.tiles,
            tensor,
            matrix: tables.matrix,
            mask,
            exact,
            _held: (planes, held, offsets),
        })
    }

    /// The streams that have these weights and no others.
    fn streams_of(&self, range: &Range<usize>) -> Option<Range<usize>> {
        if range.is_empty() {
            return Some(0..0);
        }
        let first = self.layout.stream_of(range.start);
        let last = self.layout.stream_of(range.end - 1);
        let whole = self.layout.stream(first).start == range.start
            && self.layout.stream(last).end == range.end;
        whole.then_some(first..last + 1)
    }

    fn decode(&self, target: &Target<'_>, range: Range<usize>, workspace: Span) -> Result<()> {
        let streams = self.streams_of(&range).ok_or_else(|| {
            invalid(format!(
                "weights {range:?} are not whole streams: decode all, and take what is needed"
            ))
        })?;
        match &self.mask {
            None => {
                let origin = self.firsts[streams.start];
                target.streams(&self.tensor, self.tiles, streams, origin, target.out)?;
            }
            Some(mask) => {
                let origin = self.firsts[streams.start];
                let coded = self.firsts[streams.end] - origin;
                let bytes = coded as usize * target.float.size();
                holds(workspace, bytes, target.float.size(), "the workspace")?;
                let room = workspace.pointer;
                target.streams(&self.tensor, self.tiles, streams, origin, room)?;
                self.spread(target, mask, &range, room, origin)?;
            }
        }
        match &self.exact {
            Some(exact) => exact.patch(target, range),
            None => Ok(()),
        }
    }

    fn spread(
        &self,
        target: &Target<'_>,
        [words, ranks]: &[Buffer; 2],
        range: &Range<usize>,
        coded: u64,
        origin: u64,
    ) -> Result<()> {
        let (words, ranks) = (words.pointer(), ranks.pointer());
        let (start, count) = (range.start as u64, range.len() as u64);
        let mut arguments = arguments![coded, origin, words, ranks, start, count, target.out];
        let blocks = count.div_ceil(FLAT_THREADS.into());
        // SAFETY: these are the arguments of hc_spread; the mask is held here, and the caller promised
        // the memory.
        unsafe {
            target.launch(
                Kernel::spread(target.float),
                blocks,
                FLAT_THREADS,
                &mut arguments,
            )
        }
    }

    #[allow(clippy::too_many_arguments)] // as many as a product has
    fn multiply(
        &self,
        device: &Device,
        float: Float,
        matrix: abi::Matrix,
        x: Vectors,
        y: Vectors,
        workspace: Span,
        stream: Stream,
    ) -> Result<()> {
        let slots = abi::slots(matrix.batch);
        let (image, dtype) = (workspace.pointer, float.number());
        // Products by the table are as exact as weights of bfloat16 are; vectors of single precision
        // get its products.
        let tensor = match float {
            Float::F32 => abi::Tensor {
                table: 0,
                table_rate: 0,
                ..self.tensor
            },
            Float::F16 | Float::Bf16 => self.tensor,
        };
        let blocks =
            u64::from(slots) * u64::from(abi::tiles(matrix.piece)) * u64::from(matrix.pieces);
        let mut arguments = arguments![tensor, matrix, x.pointer, x.stride, dtype, image];
        // SAFETY: these are the arguments of hc_transform; the workspace holds the image, and the
        // caller promised the vectors.
        unsafe {
            Kernel::TRANSFORM.launch(device, stream, blocks, TILE_THREADS, &mut arguments)?;
        }
        let blocks = matrix.rows.div_ceil(ROWS_A_BLOCK.into()).min(
            (BLOCKS_A_MULTIPROCESSOR * device.multiprocessors())
                .max(1)
                .into(),
        );
        let mut arguments = arguments![tensor, matrix, image, y.pointer, y.stride, dtype];
        // SAFETY: these are the arguments of hc_matvec, likewise.
        unsafe {
            let kernel = Kernel::matvec(slots);
            kernel.launch(device, stream, blocks, 32 * ROWS_A_BLOCK, &mut arguments)
        }
    }
}

impl Exact {
    fn new(
        device: &Arc<Device>,
        streams: &Streams,
        shape: &[usize],
        stream: Stream,
    ) -> Result<Self> {
        let all = 0..shape.iter().product();
        let (places, values): (Vec<usize>, Vec<f64>) = streams.exceptions.within(all).unzip();
        let numbers: Vec<u64> = places.iter().map(|place| *place as u64).collect();
        Ok(Self {
            on_device: Buffer::holding(device, &numbers, stream)?,
            places,
            values: Converted::new(values),
        })
    }

    fn patch(&self, target: &Target<'_>, range: Range<usize>) -> Result<()> {
        let first = self.places.partition_point(|place| *place < range.start) as u64;
        let end = self.places.partition_point(|place| *place < range.end) as u64;
        let count = end - first;
        if count == 0 {
            return Ok(());
        }
        let size = target.float.size() as u64;
        let values = self.values.on(target.device, target.float, target.stream)? + first * size;
        let places = self.on_device.pointer() + 8 * first;
        // Places are counted from the tensor's start.
        let out = target.out.wrapping_sub(range.start as u64 * size);
        let mut arguments = arguments![out, places, values, count];
        let blocks = count.div_ceil(FLAT_THREADS.into());
        // SAFETY: these are the arguments of hc_patch; all these places are within the output.
        unsafe {
            target.launch(
                Kernel::patch(target.float),
                blocks,
                FLAT_THREADS,
                &mut arguments,
            )
        }
    }
}

impl PreparedWinding {
    fn new(device: &Arc<Device>, winding: &Winding, plane: Plane, stream: Stream) -> Result<Self> {
        let decoding = winding.decoding();
        let units = Buffer::holding(device, &decoding.units, stream)?;
        Ok(Self {
            argument: abi::Winding {
                codes: plane.pointer(),
                code_bytes: winding.packed().len() as u64,
                weights: winding.len() as u64,
                units: units.pointer(),
                centre: decoding.centre,
                half: decoding.half,
                group: winding.params().group as u32,
                bits: winding.bits_per_code(),
                points: decoding.points,
                base: decoding.base,
            },
            _held: (plane, units),
        })
    }

    fn decode(&self, target: &Target<'_>, range: Range<usize>) -> Result<()> {
        let (first, count) = (range.start as u64, range.len() as u64);
        let dtype = target.float.number();
        let mut arguments = arguments![self.argument, first, count, target.out, dtype];
        let blocks = count.div_ceil(FLAT_THREADS.into());
        // SAFETY: these are the arguments of hc_winding; the caller promised the output.
        unsafe { target.launch(Kernel::WINDING, blocks, FLAT_THREADS, &mut arguments) }
    }
}
