#![no_main]

#[path = "../src/recording.rs"]
mod recording;

libfuzzer_sys::fuzz_target!(|data: &[u8]| recording::one(data));
