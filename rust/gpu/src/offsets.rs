//! Tables of offsets, which make products at one rate fast. All live tensors on a device share one
//! table for each code, so that it stays in the device's cache.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hypercomp_core::codec::trellis::PinnedCode;

use crate::abi;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::kernel::{Kernel, arguments};
use crate::memory::Buffer;

/// Threads of a block that makes a table.
const THREADS: u32 = 256;

/// The number of a code among the codes of all sets.
type Key = usize;

/// The tables of a device. A table keeps the device open, so the device holds weak references.
#[derive(Debug, Default)]
pub(crate) struct OffsetTables(Mutex<Vec<(Key, Weak<Buffer>)>>);

impl OffsetTables {
    /// The table of a code, complete when this returns; `None` if the code has no table. `tensor` has
    /// the same set and window, and its `codes` are on the device.
    pub fn of(
        device: &Arc<Device>,
        tensor: &abi::Tensor,
        code: PinnedCode,
        stream: Stream,
    ) -> Result<Option<Arc<Buffer>>> {
        let half_bits = code.code().half_bits;
        let words = abi::table_words(tensor.window, half_bits);
        if words == 0 {
            return Ok(None);
        }
        let key = code.number();
        // Held while a table is computed, so that it is computed once.
        let tables = &device.offset_tables().0;
        let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|(_, table)| table.strong_count() > 0);
        let known = tables.iter().find(|(of, _)| *of == key);
        if let Some(table) = known.and_then(|(_, table)| table.upgrade()) {
            return Ok(Some(table));
        }
        let table = Arc::new(make(device, tensor, half_bits, words, stream)?);
        tables.push((key, Arc::downgrade(&table)));
        Ok(Some(table))
    }
}

fn make(
    device: &Arc<Device>,
    tensor: &abi::Tensor,
    half_bits: u32,
    words: usize,
    stream: Stream,
) -> Result<Buffer> {
    let table = Buffer::new(device, 4 * words)?;
    let entered = device.context().enter_relaxed()?;
    let place = table.pointer();
    let mut arguments = arguments![*tensor, half_bits, place];
    let blocks = (words as u64).div_ceil(THREADS.into());
    // SAFETY: these are the arguments of hc_offsets, which reads the tensor's codes and writes so many
    // words; it is waited for.
    unsafe { Kernel::OFFSETS.launch(device, stream, blocks, THREADS, &mut arguments)? };
    entered.wait(stream)?;
    drop(entered);
    Ok(table)
}
