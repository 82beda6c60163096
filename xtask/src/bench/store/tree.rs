//! A tree of files as people have them: many small texts, some that do not compress, all from a
//! seed.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::bench::world::Folder;

/// Folders, and files of each.
const FOLDERS: usize = 200;
const FILES: usize = 60;
/// One file in so many is a picture, say: large, and it does not compress.
const NOISE_ONE_IN: usize = 25;

/// A tree in a folder that vanishes.
pub(super) struct Tree {
    folder: Folder,
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Tree {
    pub(super) fn new() -> Result<Self> {
        let folder = Folder::new()?;
        let mut tree = Self { folder, files: 0, bytes: 0 };
        let root = tree.root();
        for n in 0..FOLDERS {
            let folder = root.join(format!("{:02}/{n}", n / 16));
            fs::create_dir_all(&folder)?;
            for file in 0..FILES {
                let seed = (n * FILES + file) as u64;
                let bytes = match seed as usize % NOISE_ONE_IN {
                    0 => noise(seed, 60_000 + seed as usize * 7 % 90_000),
                    _ => words(seed),
                };
                tree.bytes += bytes.len() as u64;
                tree.files += 1;
                let path = folder.join(format!("{file}.txt"));
                let mut file = File::create(&path)
                    .with_context(|| format!("cannot make {}", path.display()))?;
                file.write_all(&bytes)?;
            }
        }
        Ok(tree)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path.join("tree")
    }

    /// Beside the tree.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }
}

/// Text of some thousand bytes.
fn words(seed: u64) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "fragment", "lease", "host", "a", "the", "of", "disk", "segment", "keeps", "for", "and",
        "nobody",
    ];
    let mut state = seed | 1;
    let mut text = String::new();
    for _ in 0..300 + seed % 900 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 33) as usize % WORDS.len()]);
        text.push(if state >> 60 == 0 { '\n' } else { ' ' });
    }
    text.into_bytes()
}

/// Bytes that do not compress.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
