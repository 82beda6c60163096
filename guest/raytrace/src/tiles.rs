//! How the frame is cut into tiles, which task draws which, and a tile as a PNG file.

use isos_guest::{Failure, Task};

/// Largest side of a frame, in pixels.
const MAX_SIDE: u32 = 16_384;

/// The whole picture: its size and the side of its square tiles, in pixels.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    tile: u32,
}

/// A part of the frame: upper left corner and size, in pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Frame {
    /// Refuses sides of nothing and of more than `MAX_SIDE`.
    pub(crate) fn new(width: u32, height: u32, tile: u32) -> Result<Self, Failure> {
        for (name, side) in [("--width", width), ("--height", height), ("--tile", tile)] {
            if !(1..=MAX_SIDE).contains(&side) {
                return Err(Failure::new(format!("{name} is {side}; it must be 1..{MAX_SIDE}")));
            }
        }
        Ok(Self { width, height, tile })
    }

    /// The tiles that one task draws; those at the right and lower edges may be smaller.
    pub(crate) fn tiles_of(&self, task: Task) -> impl Iterator<Item = Tile> {
        let columns = self.width.div_ceil(self.tile);
        let count = columns * self.height.div_ceil(self.tile);
        (0..count).filter(move |&number| u64::from(number) % task.count() == task.index()).map(
            move |number| {
                let (x, y) = (number % columns * self.tile, number / columns * self.tile);
                let width = self.tile.min(self.width - x);
                let height = self.tile.min(self.height - y);
                Tile { x, y, width, height }
            },
        )
    }
}

impl Tile {
    /// The file for these pixels: 3 bytes each, row after row.
    pub(crate) fn png(&self, pixels: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(pixels))
            .map_err(|error| Failure::because("make a PNG file", error))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_together_draw_every_pixel_once() {
        let frame = Frame::new(70, 45, 32).unwrap();
        let mut drawn = vec![0; 70 * 45];
        for index in 0..4 {
            for tile in frame.tiles_of(Task::new(index, 4).unwrap()) {
                for y in tile.y..tile.y + tile.height {
                    for x in tile.x..tile.x + tile.width {
                        drawn[(y * 70 + x) as usize] += 1;
                    }
                }
            }
        }
        assert!(drawn.iter().all(|&times| times == 1));
    }

    #[test]
    fn a_file_reads_back_as_the_same_pixels() {
        let tile = Tile { x: 0, y: 0, width: 3, height: 2 };
        let pixels: Vec<u8> = (0..18).collect();
        let file = tile.png(&pixels).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut read = vec![0; 18];
        reader.next_frame(&mut read).unwrap();
        assert_eq!(read, pixels);
    }

    #[test]
    fn an_empty_frame_is_refused() {
        let failure = Frame::new(0, 45, 32).unwrap_err();
        assert_eq!(failure.to_string(), "--width is 0; it must be 1..16384");
    }
}
