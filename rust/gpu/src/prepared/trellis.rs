//! A trellis tensor on a device.

use std::ops::Range;
use std::sync::Arc;

use hypercomp_core::codec::Streams;
use hypercomp_core::codec::format::layout::Layout;

use super::lent::{Plane, Span, Vectors, holds, invalid};
use super::target::{TILE_THREADS, Target};
use super::tiles::PreparedTiles;
use crate::abi;
use crate::converted::Converted;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::kernel::{Float, Kernel, arguments};
use crate::memory::Buffer;
use crate::offsets::OffsetTables;
use crate::tables::{self, Tables};

/// Blocks of the product kernel that a multiprocessor holds at once. Each block loops over rows.
const BLOCKS_A_MULTIPROCESSOR: u32 = 3;

/// The data of a trellis tensor that kernels read.
#[derive(Debug)]
pub(super) struct PreparedTrellis {
    layout: Layout,
    /// The index of the first coded weight of every stream, then the number of all coded weights.
    pub firsts: Vec<u64>,
    /// The most blocks of a stream in decoding.
    pub most_tiles: u32,
    pub tensor: abi::Tensor,
    pub matrix: Option<abi::Matrix>,
    pub mask: Option<[Buffer; 2]>,
    pub exact: Option<Exact>,
    tiles: Option<PreparedTiles>,
    /// The memory that `tensor` points to.
    _held: ([Plane; 2], [Buffer; 2], Option<Arc<Buffer>>),
}

/// Weights that are stored exactly.
#[derive(Debug)]
pub(super) struct Exact {
    places: Vec<usize>,
    on_device: Buffer,
    pub values: Converted,
}

impl PreparedTrellis {
    /// Copy the data to the device, except lent planes.
    pub fn new(
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
        let tiles = match streams.code_set.is_tiled() {
            true => {
                let codes = streams.codes();
                let codes = codes.expect("a tensor's window is one of its set's");
                Some(PreparedTiles::new(device, streams, codes, stream)?)
            }
            false => None,
        };
        let offsets = match (tables.matrix, tables.code) {
            (Some(_), Some(code)) if tiles.is_none() => {
                OffsetTables::of(device, &tensor, code, stream)?
            }
            _ => None,
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
            most_tiles: tables.tiles,
            tensor,
            matrix: tables.matrix,
            mask,
            exact,
            tiles,
            _held: (planes, held, offsets),
        })
    }

    /// The argument of the kernels of streams in tiles; `None` if the streams are in chains.
    pub fn in_tiles(&self) -> Option<&abi::Tiles> {
        self.tiles.as_ref().map(|tiles| &tiles.argument)
    }

    /// The streams that consist of exactly these weights; `None` if there are none.
    pub fn streams_of(&self, range: &Range<usize>) -> Option<Range<usize>> {
        if range.is_empty() {
            return Some(0..0);
        }
        let first = self.layout.stream_of(range.start);
        let last = self.layout.stream_of(range.end - 1);
        let whole = self.layout.stream(first).start == range.start
            && self.layout.stream(last).end == range.end;
        whole.then_some(first..last + 1)
    }

    /// Decode the weights of a range of whole streams.
    pub fn decode(&self, target: &Target<'_>, range: Range<usize>, workspace: Span) -> Result<()> {
        let streams = self.streams_of(&range).ok_or_else(|| {
            invalid(format!(
                "weights {range:?} are not whole streams: decode all, and take what is needed"
            ))
        })?;
        match &self.mask {
            None => {
                let origin = self.firsts[streams.start];
                target.streams(
                    &self.tensor,
                    self.in_tiles(),
                    self.most_tiles,
                    streams,
                    origin,
                    target.out,
                )?;
            }
            Some(mask) => {
                let origin = self.firsts[streams.start];
                let coded = self.firsts[streams.end] - origin;
                let bytes = coded as usize * target.float.size();
                holds(workspace, bytes, target.float.size(), "the workspace")?;
                let room = workspace.pointer;
                target.streams(
                    &self.tensor,
                    self.in_tiles(),
                    self.most_tiles,
                    streams,
                    origin,
                    room,
                )?;
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
        // SAFETY: these are the arguments of hc_spread; the mask is held here, and the caller promised
        // the memory.
        unsafe { target.launch_flat(Kernel::spread(target.float), count, &mut arguments) }
    }

    /// Multiply by at most 8 vectors.
    #[allow(clippy::too_many_arguments)] // as many as a product has
    pub fn multiply(
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
        // Products with the table are as exact as bfloat16 weights. Vectors of single precision are
        // multiplied without the table.
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
        let blocks = matrix.rows.div_ceil(abi::ROWS.into()).min(
            (BLOCKS_A_MULTIPROCESSOR * device.multiprocessors())
                .max(1)
                .into(),
        );
        let threads = 32 * abi::ROWS;
        // SAFETY: these are the arguments of hc_matvec and hc_tile_matvec, likewise.
        unsafe {
            match self.in_tiles() {
                None => {
                    let mut a = arguments![tensor, matrix, image, y.pointer, y.stride, dtype];
                    Kernel::matvec(slots).launch(device, stream, blocks, threads, &mut a)
                }
                Some(tiles) => {
                    let mut a =
                        arguments![tensor, *tiles, matrix, image, y.pointer, y.stride, dtype];
                    Kernel::tile_matvec(slots).launch(device, stream, blocks, threads, &mut a)
                }
            }
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
        // Places count from the tensor's start.
        let out = target.out.wrapping_sub(range.start as u64 * size);
        let mut arguments = arguments![out, places, values, count];
        // SAFETY: these are the arguments of hc_patch; all these places are within the output.
        unsafe { target.launch_flat(Kernel::patch(target.float), count, &mut arguments) }
    }
}
