//! Any bytes as a safetensors file with compressed tensors: no panic, no hang, nothing read beyond
//! the file, and what is accepted can be decoded and written again.
//!
//! Run it with `make fuzz`.

#![no_main]

use std::collections::BTreeMap;

use hypercomp_core::Control;
use hypercomp_core::codec::{CompressedTensor, Parts};
use hypercomp_core::container::{Contents, Group, Header, LENGTH, Tensor, header_length};
use hypercomp_core::team::Alone;
use libfuzzer_sys::fuzz_target;

const DECODED: usize = 1 << 12;

fuzz_target!(|file: &[u8]| {
    let Ok(length) = header_length(file, file.len() as u64) else {
        return;
    };
    let (json, data) = file[LENGTH..].split_at(length);
    let Ok(header) = Header::parse(json, file.len() as u64) else {
        return;
    };
    let bytes = |tensor: &Tensor| &data[tensor.start..tensor.start + tensor.len];
    assert_eq!(
        header.tensors.iter().map(|t| bytes(t).len()).sum::<usize>(),
        data.len()
    );
    if let Ok(written) = header.to_bytes() {
        let size = (written.len() + data.len()) as u64;
        assert_eq!(
            Header::parse(&written[LENGTH..], size).as_ref(),
            Ok(&header)
        );
    }
    let Ok(contents) = Contents::of(&header.tensors) else {
        return;
    };
    for group in contents.groups.values() {
        let Group::Compressed {
            description, parts, ..
        } = group
        else {
            continue;
        };
        let Ok(description) = str::from_utf8(bytes(description)) else {
            continue;
        };
        let parts: BTreeMap<_, _> = parts
            .iter()
            .map(|(part, tensor)| ((*part).to_owned(), bytes(tensor).to_vec().into()))
            .collect();
        let parts = Parts {
            description: description.to_owned(),
            parts,
        };
        let Ok(tensor) = CompressedTensor::from_parts(parts, false) else {
            continue;
        };
        let len = tensor.len().min(DECODED);
        let mut out = vec![0f32; len];
        let range = tensor.len() - len..tensor.len();
        tensor
            .decompress_by(&Alone, range, &mut out, &Control::new())
            .expect("any codes are weights");
    }
});
