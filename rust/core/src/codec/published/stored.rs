//! The bytes of a [`Winding`], little-endian:
//!
//! | offset | type | what |
//! |---|---|---|
//! | 0 | u8 | K, 1 to 4 |
//! | 1 | u8 | class_max, 1 to 128 |
//! | 2 | u8 | M, categories, 0 to class_max |
//! | 3 | u8 | b, bits a code, 1 to 32: just enough for the largest code |
//! | 4 | u32 | U, samples, 1 to 2²⁴ |
//! | 8 | f64 | l, side |
//! | 16 | f64 | threshold |
//! | 24 | u64 | n, weights |
//! | 32 | K × f32 | centre |
//! | 32 + 4K | K × f32 | the group farthest from the centre |
//! | 32 + 8K | ⌈gb/8⌉ bytes | g = ⌈n/K⌉ codes of b bits, the first code and its most significant bit first; the spare bits of the last byte are 0 |
//!
//! class_max and threshold are not needed for decoding; they record how the tensor was encoded.

use super::category;
use super::codes::{PackedCodes, width};
use super::params::WindingParams;
use super::winding::Winding;
use crate::{Error, ErrorKind, Result};

impl Winding {
    /// Append the stored form, [`nbytes`](Self::nbytes) bytes; `docs/format.md` has its fields.
    pub fn to_bytes(&self, out: &mut Vec<u8>) {
        write(self, out);
    }

    /// Read the stored form; all of `bytes` must be it.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] for anything that [`to_bytes`](Self::to_bytes) does not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        read(bytes)
    }

    /// Bytes of the stored form.
    pub fn nbytes(&self) -> usize {
        header_len(self.params.group) + self.codes.bytes().len()
    }
}

/// Bytes before the centre.
const FIXED: usize = 32;

/// Bytes before the codes.
fn header_len(group: usize) -> usize {
    FIXED + 8 * group
}

/// Append the bytes of `winding`.
fn write(winding: &Winding, out: &mut Vec<u8>) {
    let params = &winding.params;
    out.reserve(winding.nbytes());
    out.extend([
        params.group as u8,
        params.class_max as u8,
        winding.classes as u8,
        winding.codes.bits() as u8,
    ]);
    out.extend(params.samples.to_le_bytes());
    out.extend(params.side.to_le_bytes());
    out.extend(params.threshold.to_le_bytes());
    out.extend((winding.len as u64).to_le_bytes());
    for value in winding.centre.iter().chain(&winding.farthest) {
        out.extend(value.to_le_bytes());
    }
    out.extend(winding.codes.bytes());
}

/// Read what [`write`] wrote. Every field is checked, so that every accepted code decodes.
fn read(bytes: &[u8]) -> Result<Winding> {
    let mut rest = bytes;
    let [group, class_max, classes, bits] = take(&mut rest)?.map(u32::from);
    let params = WindingParams {
        group: group as usize,
        samples: u32::from_le_bytes(take(&mut rest)?),
        side: f64::from_le_bytes(take(&mut rest)?),
        threshold: f64::from_le_bytes(take(&mut rest)?),
        class_max,
    };
    params.validate().map_err(|e| malformed(e.message()))?;
    let weights = u64::from_le_bytes(take(&mut rest)?);
    let len = usize::try_from(weights).map_err(|_| wrong_size(weights, bits))?;
    let centre = floats(&mut rest, params.group)?;
    let farthest = floats(&mut rest, params.group)?;
    let codes = PackedCodes::from_packed(len.div_ceil(params.group), bits, rest)
        .ok_or_else(|| wrong_size(weights, bits))?;
    let winding = Winding {
        params,
        len,
        centre,
        farthest,
        classes,
        codes,
    };
    check_classes(&winding)?;
    check_codes(&winding)?;
    Ok(winding)
}

/// Check that M is one of the numbers tried, and that there are categories only if a group is outside
/// the cube.
fn check_classes(winding: &Winding) -> Result<()> {
    let Winding {
        params, classes, ..
    } = winding;
    if *classes > params.class_max {
        return Err(malformed(&format!(
            "{classes} categories, class_max is {}",
            params.class_max
        )));
    }
    let mut offset = [0.0; 4];
    for (offset, (f, c)) in offset
        .iter_mut()
        .zip(winding.farthest.iter().zip(&winding.centre))
    {
        *offset = f64::from(*f) - f64::from(*c);
    }
    let reach = category::distance(&offset);
    if *classes > 0 && reach <= params.side / 2.0 {
        return Err(malformed(&format!(
            "{classes} categories, but the farthest group, {reach:e} from the centre, is inside the cube of side {:e}",
            params.side
        )));
    }
    Ok(())
}

/// Check that every code is below (U + 1)·(M + 1), and that codes have the fewest possible bits.
fn check_codes(winding: &Winding) -> Result<()> {
    let largest = winding.codes.iter().max().unwrap_or(0);
    let bound = u64::from(winding.params.samples + 1) * u64::from(winding.classes + 1);
    if u64::from(largest) >= bound {
        return Err(malformed(&format!(
            "code {largest}: codes are below {bound}"
        )));
    }
    let bits = winding.codes.bits();
    if bits != width(largest) {
        return Err(malformed(&format!(
            "{bits} bits a code: the largest, {largest}, takes {}",
            width(largest)
        )));
    }
    Ok(())
}

/// The next N bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, after) = rest
        .split_first_chunk()
        .ok_or_else(|| malformed("the header is cut short"))?;
    *rest = after;
    Ok(*taken)
}

fn floats(rest: &mut &[u8], count: usize) -> Result<Vec<f32>> {
    let read = |_| {
        let value = f32::from_le_bytes(take(rest)?);
        if value.is_finite() {
            Ok(value)
        } else {
            Err(malformed("the centre or the farthest group is not finite"))
        }
    };
    (0..count).map(read).collect()
}

fn wrong_size(weights: u64, bits: u32) -> Error {
    malformed(&format!(
        "the codes do not fill their bytes: {weights} weights, {bits} bits a code"
    ))
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Format, format!("winding code: {what}"))
}
