//! Bytes as they come from a file, cut into lines.

/// Longest line that is read; a longer one is damaged.
pub const MAX_LINE: usize = 64 << 10;

/// Cuts bytes into lines; what the last chunk left unfinished waits for the next.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Calls `f` with the number, from 1, and the bytes of each line that is complete.
    pub fn feed(&mut self, chunk: &[u8], mut f: impl FnMut(u64, &[u8])) {
        let mut chunk = chunk;
        while let Some(end) = chunk.iter().position(|&b| b == b'\n') {
            self.number += 1;
            if self.rest.is_empty() {
                f(self.number, &chunk[..end]);
            } else {
                self.keep(&chunk[..end]);
                f(self.number, &self.rest);
                self.rest.clear();
            }
            chunk = &chunk[end + 1..];
        }
        self.keep(chunk);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The last line, when it has no end.
    pub fn finish(&mut self, mut f: impl FnMut(u64, &[u8])) {
        if !self.rest.is_empty() {
            self.number += 1;
            f(self.number, &self.rest);
            self.rest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_do_not_matter() {
        let text = b"one\n\ntwo words\nlast";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut got = Vec::new();
            for chunk in text.chunks(size) {
                lines.feed(chunk, |n, l| got.push((n, l.to_vec())));
            }
            lines.finish(|n, l| got.push((n, l.to_vec())));
            let want: Vec<_> =
                text.split(|&b| b == b'\n').enumerate().map(|(i, l)| (i as u64 + 1, l.to_vec())).collect();
            assert_eq!(got, want);
        }
    }
}
