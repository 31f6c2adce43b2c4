//! Fields of 0 to 8 bits, packed without gaps, first field first and most significant bit first.
//!
//! In this order the last W path bits, read as one big-endian number, are the register.

/// Bytes that `count` fields of `width` bits take, padded at the end to a whole byte.
pub fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Writes fields into existing bytes.
pub struct Writer<'a> {
    bytes: std::slice::IterMut<'a, u8>,
    buffer: u32,
    held: u32,
}

impl<'a> Writer<'a> {
    /// A writer into `bytes`; fields beyond their end are dropped.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes: bytes.iter_mut(),
            buffer: 0,
            held: 0,
        }
    }

    /// Append the low `width` ≤ 8 bits of every field.
    pub fn extend(&mut self, fields: &[u8], width: u32) {
        if width == 0 {
            return;
        }
        for &field in fields {
            self.buffer = self.buffer << width | u32::from(field);
            self.held += width;
            if self.held >= 8 {
                self.held -= 8;
                if let Some(byte) = self.bytes.next() {
                    *byte = (self.buffer >> self.held) as u8;
                }
            }
        }
    }

    /// Fill the last byte up with zeros.
    pub fn finish(mut self) {
        if self.held > 0
            && let Some(byte) = self.bytes.next()
        {
            *byte = (self.buffer << (8 - self.held)) as u8;
        }
    }
}

/// Pack the low `width` bits of every field into `out`, which must have [`packed_len`] bytes.
pub fn pack(fields: &[u8], width: u32, out: &mut [u8]) {
    debug_assert_eq!(out.len(), packed_len(fields.len(), width));
    let mut writer = Writer::new(out);
    writer.extend(fields, width);
    writer.finish();
}

/// Reads the fields that a [`Writer`] wrote; past the end it reads zeros.
pub struct Reader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    width: u32,
    buffer: u32,
    held: u32,
}

impl<'a> Reader<'a> {
    /// A reader of fields of `width` ≤ 8 bits.
    pub fn new(bytes: &'a [u8], width: u32) -> Self {
        Self {
            bytes: bytes.iter(),
            width,
            buffer: 0,
            held: 0,
        }
    }

    /// A reader that begins `bit` bits into the bytes.
    pub fn starting_at(bytes: &'a [u8], width: u32, bit: usize) -> Self {
        let mut reader = Self::new(&bytes[(bit / 8).min(bytes.len())..], width);
        let skipped = bit as u32 % 8;
        if skipped > 0 {
            reader.buffer = u32::from(reader.bytes.next().copied().unwrap_or(0));
            reader.held = 8 - skipped;
        }
        reader
    }

    /// The next field.
    #[inline]
    pub fn next_field(&mut self) -> u32 {
        if self.held < self.width {
            self.buffer = self.buffer << 8 | u32::from(self.bytes.next().copied().unwrap_or(0));
            self.held += 8;
        }
        self.held -= self.width;
        (self.buffer >> self.held) & ((1 << self.width) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_read(fields in proptest::collection::vec(any::<u8>(), 0..200), width in 0u32..=8) {
            let fields: Vec<u8> = fields.iter().map(|f| (u32::from(*f) & ((1 << width) - 1)) as u8).collect();
            let mut bytes = vec![0xAA; packed_len(fields.len(), width)];
            pack(&fields, width, &mut bytes);
            let mut reader = Reader::new(&bytes, width);
            for field in &fields {
                prop_assert_eq!(reader.next_field(), u32::from(*field));
            }
            for (i, field) in fields.iter().enumerate() {
                let mut reader = Reader::starting_at(&bytes, width, i * width as usize);
                prop_assert_eq!(reader.next_field(), u32::from(*field));
            }
        }
    }

    #[test]
    fn the_first_field_is_most_significant() {
        let mut bytes = [0; 2];
        pack(&[0b101, 0b001, 0b111, 0b010], 3, &mut bytes);
        assert_eq!(bytes, [0b1010_0111, 0b1010_0000]);
    }
}
