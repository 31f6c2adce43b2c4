//! The reader of `.ine` and `.ext` on files that are right, wrong, and made at random.

use hypercomp_core::representation::number::Rational;
use hypercomp_core::representation::{Entries, Kind, Representation, read, write};
use hypercomp_core::{Control, ErrorKind};
use num_bigint::BigInt;
use proptest::prelude::*;

fn h(file: &str) -> Result<Representation, String> {
    read(file.as_bytes(), Kind::H, &Control::new()).map_err(|e| {
        assert_eq!(e.kind(), ErrorKind::Format, "{e}");
        e.to_string()
    })
}

fn rationals(entries: &Entries) -> Vec<Rational> {
    match entries {
        Entries::Integers(x) => x
            .iter()
            .map(|x| Rational::from_integer((*x).into()))
            .collect(),
        other => other.clone().into_rationals(),
    }
}

#[test]
fn everything_that_a_file_may_say() {
    let found = h(concat!(
        "* a comment, then the name\n",
        "two words\n",
        "H-representation\n",
        "this line lrs takes for a comment too\n",
        "nonnegative\n",
        "linearity 2\n  3 1\n",
        "begin\n",
        "  3  3\trational\r\n",
        "1 -1/2 0\n",
        "\n",
        "+2/4 7\n  -9223372036854775809\n",
        "0 1 1\n",
        "end\n",
        "* comment\n",
        "maximize 0 1 1\n",
        "equality 1 3\n",
        "allbases",
    ))
    .unwrap();
    assert_eq!(found.name, "two words");
    assert_eq!((found.columns, found.nonnegative), (3, true));
    assert_eq!(found.linearity, [0, 2]);
    assert_eq!(found.options, ["maximize 0 1 1", "allbases"]);
    let big: BigInt = "-9223372036854775809".parse().unwrap();
    let expected: Vec<Rational> = [(1, 1), (-1, 2), (0, 1), (1, 2), (7, 1)]
        .map(|(n, d)| Rational::new(n.into(), d.into()))
        .into_iter()
        .chain([big.into()])
        .chain([0, 1, 1].map(|n| Rational::from_integer(n.into())))
        .collect();
    assert_eq!(found.entries, Entries::Rationals(expected));
}

#[test]
fn what_lrs_writes_is_read() {
    let file = b"*lrs:lrslib v.7.1 2021.6.2(64bit,lrslong.h,hybrid arithmetic)\n*Input taken from  t1.ine\nmy\nV-representation\nlinearity 1 2\nbegin\n***** 3 rational\n 1  1 -1/2 \n 0  0  1 \nend\n*Totals: vertices=1 rays=1\n";
    let found = read(file, Kind::V, &Control::new()).unwrap();
    assert_eq!((found.name.as_str(), found.columns), ("my", 3));
    assert_eq!((found.entries.len(), found.linearity), (6, vec![1]));
    assert!(found.options.is_empty());
}

#[test]
fn what_is_left_out_has_its_default() {
    let found = h("begin 0 4 integer end").unwrap();
    assert_eq!((found.columns, found.entries.is_empty()), (4, true));
    assert_eq!((found.kind, found.name.as_str()), (Kind::H, ""));
    let point = h("begin\n2 1 integer\n0\n0\nend\n").unwrap();
    assert_eq!(point.entries, Entries::Integers(vec![0, 0]));
}

#[test]
fn every_mistake_is_named_with_its_place() {
    for (file, says) in [
        ("", "line 1, column 1: the file ends where 'begin'"),
        (
            "name\nH-representation\n",
            "line 3, column 1: the file ends where 'begin'",
        ),
        (
            "V-representation\nbegin",
            "line 1, column 1: this is a V-representation",
        ),
        (
            "H-representation\nH-representation",
            "line 2, column 1: the file has said",
        ),
        ("begin\n", "the file ends where the number of rows"),
        ("begin\n-1 3 rational", "line 2, column 1: a number of rows"),
        ("begin\n1.5 3 rational", "'1.5'"),
        (
            "begin\n99999999999999999999 3 rational",
            "'99999999999999999999' is too large",
        ),
        ("begin\n2 0 rational", "line 2, column 3: 0 columns"),
        (
            "begin\n2 * rational",
            "line 2, column 3: a number of columns is expected, not '*'",
        ),
        (
            "begin\n2 3 complex",
            "line 2, column 5: 'complex' is no type of number",
        ),
        (
            "begin\n2 3 rational\n1 2 3\n",
            "line 4, column 1: the file ends where a row or 'end'",
        ),
        (
            "begin\n2 3 rational\n1 2\n",
            "the file ends where the rest of a row",
        ),
        (
            "begin\n2 3 rational\n1 2 3\nend\n",
            "line 2, column 1: 2 rows are announced, and 'end' follows after 1",
        ),
        (
            "begin\n1 3 rational\n1 2\nend\n",
            "line 4, column 1: 'end' follows after 2 of the 3 entries of row 1",
        ),
        (
            "begin\n1 3 rational\n1 2 3\n4 5 6\nend\n",
            "line 4, column 1: '4' follows the last of the 1 rows",
        ),
        (
            "begin\n1 3 rational\n1 2 3 4\nend\n",
            "line 3, column 7: '4' follows the last of the 1 rows",
        ),
        (
            "\u{feff}hull\nbegin",
            "line 1, column 1: 'hull' makes this a V-representation",
        ),
        ("v-Representation\nbegin", "this is a V-representation"),
        (
            "begin\n1 2 integer\n1 1\nend\nhull\n",
            "line 5, column 1: 'hull' makes this a V-representation",
        ),
        ("H\0-\0", "line 1, column 1: the file is text in UTF-16"),
        (
            "begin\n1 3 rational\n1 2 x\nend\n",
            "line 3, column 5: 'x' is no number",
        ),
        (
            "begin\n1 3 rational\n1 0.5 2\nend\n",
            "line 3, column 3: '0.5' is no number: integers and fractions such as -3/4 are accepted, and decimals such as -7.5e-3 below a header that says 'real'",
        ),
        (
            "begin\n1 3 rational\n1 * comment\nend\n",
            "line 3, column 3: '*' is no number",
        ),
        (
            "begin\n1 3 rational\n1 3/0 0\nend\n",
            "line 3, column 3: '3/0' divides by zero",
        ),
        ("linearity\nbegin", "line 1, column 1: "),
        (
            "linearity x\nbegin",
            "line 1, column 11: a number of linearities",
        ),
        (
            "linearity 2 1\nbegin\n1 1 integer\n0\nend\n",
            "line 2, column 1: the number of a row",
        ),
        (
            "linearity 1 2\nbegin\n1 1 integer\n0\nend\n",
            "line 1, column 13: row 2 is no row",
        ),
        (
            "linearity 1 0\nbegin\n1 1 integer\n0\nend\n",
            "line 1, column 13: row 0 is no row",
        ),
        (
            "begin\n1 1 integer\n0\nend\nlinearity 9",
            "line 5, column 12: the file ends where the number of a row",
        ),
    ] {
        let error = h(file).unwrap_err();
        // The first of the linearity cases names whichever word comes next.
        let says = if file == "linearity\nbegin" {
            "line 2, column 1"
        } else {
            says
        };
        assert!(error.contains(says), "{file:?}: {error}");
    }
    for (file, says) in [
        (
            "H-representation\nbegin",
            "line 1, column 1: this is an H-representation",
        ),
        (
            "begin\n1 2 rational\n-2 1\nend",
            "line 3, column 1: row 1 begins with '-2'",
        ),
        (
            "nonnegative\nbegin",
            "'nonnegative' belongs to an H-representation",
        ),
    ] {
        let error = read(file.as_bytes(), Kind::V, &Control::new()).unwrap_err();
        assert!(error.message().contains(says), "{file:?}: {error}");
    }
}

#[test]
fn a_header_allocates_nothing() {
    for file in [
        "begin\n18446744073709551615 18446744073709551615 rational\n1 2 3\n",
        "linearity 18446744073709551615 1 2 3",
    ] {
        assert!(h(file).unwrap_err().contains("the file ends"));
    }
}

#[test]
fn reading_stops_when_told() {
    let control = Control::new();
    control.cancel();
    let error = read(b"begin\n1 1 integer\n1\nend\n", Kind::H, &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

/// Fragments of the format, from which random files are made: nearly right ones, mostly.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "begin",
            "end",
            "H-representation",
            "V-representation",
            "linearity",
            "nonnegative",
            "rational",
            "integer",
            "real",
            "*****",
            "*",
            "\n",
            "\r\n",
            "\t",
            "0",
            "1",
            "2",
            "3",
            "-1/2",
            "1/0",
            "1e3",
            ".5",
            "1e99999",
            "99999999999999999999",
            "\u{feff}",
            "\0",
            "é",
        ])
        .prop_map(String::from),
        any::<i64>().prop_map(|x| x.to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_file_is_too_strange(words in prop::collection::vec((fragment(), " |\n"), 0..60)) {
        let file: String = words.into_iter().flat_map(|(word, blank)| [word, blank]).collect();
        for kind in [Kind::H, Kind::V] {
            if let Ok(found) = read(file.as_bytes(), kind, &Control::new()) {
                prop_assert!(found.columns > 0);
                prop_assert_eq!(found.entries.len() % found.columns, 0);
                let rows = found.entries.len() / found.columns;
                prop_assert!(found.linearity.iter().all(|row| *row < rows));
            }
        }
    }

    #[test]
    fn rows_come_back_as_they_were_written(
        dimension in 0usize..5,
        numbers in prop::collection::vec((any::<i64>(), 1i64..), 0..20),
    ) {
        // Vertices are written in lowest terms, coordinate by coordinate.
        let vertices: Vec<i64> = numbers
            .iter()
            .flat_map(|(n, d)| std::iter::repeat_n(*n, dimension).chain([*d]))
            .collect();
        let mut rows = Vec::new();
        write::vertex_rows(&vertices, dimension, &mut rows);
        let mut big = Vec::new();
        let numerators: Vec<BigInt> = vertices.iter().map(|x| (*x).into()).collect();
        write::big_vertex_rows(&numerators, dimension, &mut big);
        prop_assert_eq!(&rows, &big);
        let mut file = format!("V-representation\nbegin\n***** {} rational\n", dimension + 1).into_bytes();
        file.extend(rows);
        file.extend(b"end\n");
        let found = read(&file, Kind::V, &Control::new()).unwrap();
        let expected: Vec<Rational> = numbers
            .iter()
            .flat_map(|(n, d)| {
                let value = Rational::new((*n).into(), (*d).into());
                [Rational::from_integer(1.into())]
                    .into_iter()
                    .chain(std::iter::repeat_n(value, dimension))
            })
            .collect();
        prop_assert_eq!(rationals(&found.entries), expected);
    }
}
