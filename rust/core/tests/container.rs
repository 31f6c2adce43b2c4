//! Headers of safetensors files: what is written is read, and nothing else passes.

use std::collections::BTreeMap;

use hypercomp_core::container::{
    Contents, DESCRIPTION, Dtype, Group, Header, LENGTH, PARTS, header_length, part_name,
};
use proptest::prelude::*;
use safetensors::SafeTensors;

fn parse(file: &[u8]) -> hypercomp_core::Result<Header> {
    let length = header_length(file, file.len() as u64)?;
    Header::parse(&file[LENGTH..LENGTH + length], file.len() as u64)
}

/// A file of these tensors, whose bytes count up.
fn file(header: &Header) -> Vec<u8> {
    let mut file = header.to_bytes().unwrap();
    let bytes = header.tensors.iter().map(|t| t.len).sum::<usize>();
    file.extend((0..bytes).map(|i| i as u8));
    file
}

fn refused(json: &str, data: usize) -> String {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json.as_bytes());
    file.resize(file.len() + data, 0);
    parse(&file).unwrap_err().message().to_owned()
}

fn dtype() -> impl Strategy<Value = Dtype> {
    prop_oneof![
        Just(Dtype::BOOL),
        Just(Dtype::U8),
        Just(Dtype::F16),
        Just(Dtype::BF16),
        Just(Dtype::F32),
        Just(Dtype::I64),
        Just(Dtype::F8_E4M3),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        tensors in proptest::collection::btree_map(
            "[a-z._é\"]{1,12}", (dtype(), proptest::collection::vec(0usize..6, 0..4)), 0..12),
        metadata in proptest::collection::btree_map("[a-z]{1,5}", ".{0,9}", 0..4),
    ) {
        let listed = tensors.iter().map(|(n, (d, s))| (n.clone(), *d, s.clone()));
        let header = Header::of(listed, metadata).unwrap();
        let file = file(&header);
        prop_assert_eq!(header.to_bytes().unwrap(), header.to_bytes().unwrap());
        prop_assert_eq!(&parse(&file).unwrap().metadata, &header.metadata);
        // As the library of the field reads it, which places every tensor where we do.
        let theirs = SafeTensors::deserialize(&file).unwrap();
        prop_assert_eq!(theirs.len(), tensors.len());
        let data = header.to_bytes().unwrap().len();
        for tensor in &header.tensors {
            let view = theirs.tensor(&tensor.name).unwrap();
            prop_assert_eq!((view.dtype(), view.shape()), (tensor.dtype, &tensor.shape[..]));
            prop_assert_eq!(view.data(), &file[data + tensor.start..data + tensor.start + tensor.len]);
        }
        // Tensors without bytes may lie in any order between the others.
        let sorted = |mut header: Header| {
            header.tensors.sort_by(|a, b| a.name.cmp(&b.name));
            header
        };
        prop_assert_eq!(sorted(parse(&file).unwrap()), sorted(header));
    }

    #[test]
    fn any_bytes_are_refused_or_read(file in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&file);
    }
}

#[test]
fn every_truncation_is_an_error() {
    let tensors = [
        ("a".into(), Dtype::F32, vec![3, 5]),
        ("b".into(), Dtype::U8, vec![7]),
    ];
    let file = file(&Header::of(tensors, BTreeMap::new()).unwrap());
    for len in 0..file.len() {
        let error = parse(&file[..len]).unwrap_err();
        assert!(error.message().starts_with("truncated"), "{error}");
    }
}

#[test]
fn no_header_is_longer_than_its_file() {
    for (length, file, says) in [
        (u64::MAX, 100, "at most"),
        (100_000_001, u64::MAX, "at most"),
        (93, 100, "truncated"),
    ] {
        let error = header_length(&length.to_le_bytes(), file).unwrap_err();
        assert!(error.message().contains(says), "{error}");
    }
    assert_eq!(header_length(&92u64.to_le_bytes(), 100), Ok(92));
    assert!(header_length(b"{}", 2).is_err());
}

#[test]
fn bad_headers_are_named() {
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let overlap = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
                      "b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    for (json, data, says) in [
        (String::new(), 0, "header"),
        ("[]".into(), 0, "header"),
        ("{\"a\":1}".into(), 0, "header"),
        ("{} {}".into(), 0, "header"),
        (entry("U9", "[4]", "[0,4]"), 4, "U9"),
        (entry("U8", "[-1]", "[0,4]"), 4, "header"),
        (entry("U8", "[4]", "[0,4]"), 3, "truncated"),
        (entry("U8", "[4]", "[0,4]"), 5, "1 bytes too many"),
        (entry("U8", "[5]", "[0,4]"), 4, "invalid shape"),
        (entry("U8", "[4]", "[4,8]"), 8, "offset"),
        (entry("U8", "[4]", "[4,0]"), 4, "offset"),
        (entry("F4", "[3]", "[0,2]"), 2, "byte boundary"),
        (
            entry("F64", "[4294967296,4294967296]", "[0,0]"),
            0,
            "overflow",
        ),
        (
            entry("U8", "[18446744073709551615]", "[0,18446744073709551615]"),
            9,
            "overflow",
        ),
        (entry("U8", "[1e3]", "[0,1000]"), 1000, "header"),
        (overlap.into(), 6, "offset"),
    ] {
        let message = refused(&json, data);
        assert!(message.contains(says), "{json}: {message}");
    }
}

#[test]
fn entries_are_grouped_by_their_names() {
    let bytes = |name: &str| (name.to_owned(), Dtype::U8, vec![3]);
    let header = Header::of(
        [
            bytes("a.weight_description"),
            bytes("a.weight_path"),
            bytes("a.weight_cells"),
            // Of a module that prunes: no description, so a tensor of its own.
            bytes("b.weight_mask"),
            // Not one axis of bytes.
            ("a.weight_scales".into(), Dtype::F32, vec![3]),
            bytes("a.weight_other"),
            bytes("_description"),
        ],
        BTreeMap::new(),
    )
    .unwrap();
    let contents = Contents::of(&header.tensors).unwrap();
    let names: Vec<_> = contents.groups.keys().map(String::as_str).collect();
    let plain = [
        "_description",
        "a.weight_other",
        "a.weight_scales",
        "b.weight_mask",
    ];
    assert_eq!(names, [plain[0], "a.weight", plain[1], plain[2], plain[3]]);
    let Group::Compressed {
        description, parts, ..
    } = &contents.groups["a.weight"]
    else {
        panic!("a.weight is compressed");
    };
    assert_eq!(description.name, part_name("a.weight", DESCRIPTION));
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), ["cells", "path"]);
    assert!(parts.keys().all(|part| PARTS.contains(part)));
}

#[test]
fn a_tensor_is_not_there_twice() {
    let names = ["a", "a_description"].map(|n| (n.to_owned(), Dtype::U8, vec![1]));
    let header = Header::of(names, BTreeMap::new()).unwrap();
    let error = Contents::of(&header.tensors).unwrap_err();
    assert!(error.message().contains("a is there twice"), "{error}");
    let names = ["a", "a"].map(|n| (n.to_owned(), Dtype::U8, vec![1]));
    assert!(Header::of(names, BTreeMap::new()).is_err());
}
