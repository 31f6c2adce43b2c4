//! The graph of the vertices and edges of an arrangement.

use std::collections::HashMap;

use super::lattice::{Path, Visitor, in_cheapest_field, next_level, top};
use super::restriction::{Bits, Restriction};
use crate::arrangement::arithmetic::Field;
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

/// The edges of an arrangement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skeleton {
    /// For each bounded edge the numbers of its two vertices, the smaller first. The edges are sorted.
    pub edges: Vec<[u32; 2]>,
    /// For each unbounded edge the number of its vertex, and whether points further along the edge are
    /// larger in lexicographic order. The edges are sorted.
    pub rays: Vec<(u32, bool)>,
}

/// The graph of the vertices, which are sorted lexicographically. `through[starts[v]..starts[v + 1]]` are
/// all hyperplanes that contain vertex v.
///
/// Along a line, vertices are in lexicographic order. So neighbours on a line are neighbours in the sorted
/// list of its vertices. Memory and time are those of a [`Lattice`](super::Lattice) down to the lines.
///
/// # Errors
/// As [`Lattice::new`](super::Lattice::new).
pub fn skeleton(
    arrangement: &Arrangement,
    starts: &[u64],
    through: &[u32],
    control: &Control,
) -> Result<Skeleton> {
    let words = arrangement.rows().len().div_ceil(64);
    let vertices = starts.windows(2).enumerate().map(|(number, part)| {
        let mut closure = vec![0u64; words];
        for hyperplane in &through[part[0] as usize..part[1] as usize] {
            closure[*hyperplane as usize / 64] |= 1 << (hyperplane % 64);
        }
        (closure.into(), number as u32)
    });
    let mut lines = Lines {
        vertices: vertices.collect(),
        found: Skeleton::default(),
    };
    if arrangement.dimension() > 0 && !lines.vertices.is_empty() {
        in_cheapest_field(arrangement, &mut lines, control)?;
    }
    lines.found.edges.sort_unstable();
    lines.found.rays.sort_unstable();
    Ok(lines.found)
}

struct Lines {
    vertices: HashMap<Bits, u32>,
    found: Skeleton,
}

impl Visitor for Lines {
    fn visit<F: Field>(&mut self, whole: Restriction<F>, control: &Control) -> Result<()> {
        let mut level = top(&whole);
        for _ in 1..whole.dimension() {
            level = next_level(&whole, &level, control)?;
        }
        let mut path = Path::new(&whole);
        let mut on_line = Vec::new();
        for line in &level {
            control.check()?;
            let classes = path.go_to(&line.basis, control)?;
            on_line.clear();
            for class in 0..classes.len() {
                let members = classes.members(class);
                let closure: Bits = line
                    .closure
                    .iter()
                    .zip(members)
                    .map(|(x, y)| x | y)
                    .collect();
                on_line.extend(self.vertices.get(&closure));
            }
            on_line.sort_unstable();
            let edges = on_line.windows(2).map(|pair| [pair[0], pair[1]]);
            self.found.edges.extend(edges);
            if let (Some(first), Some(last)) = (on_line.first(), on_line.last()) {
                self.found.rays.extend([(*first, false), (*last, true)]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::arithmetic::Rational;

    #[test]
    fn three_lines_and_a_parallel_one() {
        // x = 0, x = 1, y = 0, x + y = 2: vertices (0, 0), (0, 2), (1, 0), (1, 1), (2, 0).
        let rows = [[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 2]];
        let rows: Vec<Vec<Rational>> = rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|x| Rational::from_integer((*x).into()))
                    .collect()
            })
            .collect();
        let arrangement = Arrangement::new(&rows, 2).unwrap();
        let starts = [0, 2, 4, 6, 8, 10];
        let through = [0, 2, 0, 3, 1, 2, 1, 3, 2, 3];
        let found = skeleton(&arrangement, &starts, &through, &Control::new()).unwrap();
        assert_eq!(
            found.edges,
            [[0, 1], [0, 2], [1, 3], [2, 3], [2, 4], [3, 4]]
        );
        assert_eq!(
            found.rays,
            [
                (0, false),
                (0, false),
                (1, false),
                (1, true),
                (2, false),
                (3, true),
                (4, true),
                (4, true)
            ]
        );
    }
}
