//! How fast each stage of the pipeline is, and all of them together: megabytes of user data per
//! second of one core.
//!
//! `cargo run --release -p isos-store --example pipeline [MIB]`

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::hint::black_box;
use std::time::Duration;

use isos_base::fragment::Groups;
use isos_store::chunk::{Chunker, Profile};
use isos_store::class::Class;
use isos_store::code::{Code, Coded, Coder, Gather};
use isos_store::key::{Secret, StorageSecret};
use isos_store::limits::CHUNK_BYTES_MAX;
use isos_store::object::{Reader, Settings, Writer};
use isos_store::seal::{Cipher, LEVEL_DEFAULT, Sealer};

/// Each figure is the best of so many: what else the machine does only makes it worse.
const ROUNDS: usize = 5;
const CODES: [(u16, u16); 3] = [(3, 10), (16, 32), (16, 64)];

fn main() {
    let mib = arguments().first().and_then(|text| text.parse().ok()).unwrap_or(64_usize);
    let cipher = Cipher::of_this_cpu();
    let (noise, text) = (noise(mib << 20), text(mib << 20));
    println!("{mib} MiB a figure, best of {ROUNDS}, {cipher:?}; MB per core-second\n");
    println!("{:<44}{:>10}{:>10}", "stage", "noise", "text");
    let rate = |run: &dyn Fn(&[u8])| (measure(&noise, run), measure(&text, run));
    let print = |name: &str, (noise, text): (f64, f64)| {
        println!("{name:<44}{noise:>10.0}{text:>10.0}");
    };
    print("cut into chunks", rate(&cut));
    print(
        "hash chunks (convergent keys)",
        rate(&|data| {
            let owner = owner();
            data.chunks(1 << 20).for_each(|chunk| drop(black_box(owner.chunk(chunk))));
        }),
    );
    for (name, cipher) in
        [("AES-256-GCM", Cipher::Aes256Gcm), ("ChaCha20", Cipher::ChaCha20Poly1305)]
    {
        print(&format!("compress if it helps, seal with {name}"), rate(&|data| seal(data, cipher)));
    }
    print("open what was sealed", {
        let (of_noise, of_text) = (sealed(&noise, cipher), sealed(&text, cipher));
        let run = |records: &[(Vec<u8>, usize, Secret)], data| measure(data, &|_| open(records));
        (run(&of_noise, &noise), run(&of_text, &text))
    });
    println!();
    println!("{:<44}{:>10}{:>10}{:>10}", "stage", "3-of-10", "16-of-32", "16-of-64");
    let row = |name: &str, run: &dyn Fn(Code) -> f64| {
        let figures = CODES.map(|(m, n)| run(Code::new(m, n).expect("1 <= m <= n <= 256")));
        let figures: Vec<String> = figures.iter().map(|rate| format!("{rate:>10.0}")).collect();
        println!("{name:<44}{}", figures.concat());
    };
    row("code, name fragments (BLAKE3)", &|code| {
        let mut coder = Coder::new();
        measure_mut(&noise, |data| {
            for segment in data.chunks(4 << 20) {
                black_box(coder.encode(code, with_room(segment)));
            }
        })
    });
    row("check fragments, take the first m", &|code| gather(&coded(code, &noise), &noise, 0));
    row("check fragments, decode the last m", &|code| {
        gather(&coded(code, &noise), &noise, code.n() - code.m())
    });
    row("hash all groups of each fragment, for proofs", &|code| {
        let coded = coded(code, &noise);
        measure(&noise, &|_| answer(&coded))
    });
    println!();
    row("PUT, noise: cut, seal, pack, code, name", &|code| {
        measure(&noise, &|it| drop(put(code, it)))
    });
    row("PUT, text", &|code| measure(&text, &|data| drop(put(code, data))));
    row("GET, noise: check, join, open", &|code| get(code, &noise, 0));
    row("GET, noise: check, decode, open", &|code| get(code, &noise, code.n() - code.m()));
    row("GET, text: check, join, open", &|code| get(code, &text, 0));
}

fn owner() -> StorageSecret {
    StorageSecret::new(&Secret::new([1; 32]))
}

fn cut(data: &[u8]) {
    let mut chunker = Chunker::new(Profile::BACKUP).expect("it is ours");
    data.chunks(1 << 20).for_each(|piece| chunker.push(piece, |chunk| _ = black_box(chunk.len())));
    chunker.finish(|chunk| _ = black_box(chunk.len()));
}

fn seal(data: &[u8], cipher: Cipher) {
    sealed_with(data, cipher, |_, records, _| black_box(records).clear());
}

fn sealed(data: &[u8], cipher: Cipher) -> Vec<(Vec<u8>, usize, Secret)> {
    let mut all = Vec::new();
    sealed_with(data, cipher, |secret, records, length| {
        all.push((std::mem::take(records), length, secret));
    });
    all
}

fn sealed_with(data: &[u8], cipher: Cipher, mut each: impl FnMut(Secret, &mut Vec<u8>, usize)) {
    let (mut sealer, mut records) = (Sealer::new(cipher, LEVEL_DEFAULT), Vec::new());
    // One secret for all, derived once: hashing has a figure of its own.
    let secret = owner().chunk(b"one");
    for chunk in data.chunks(1 << 20) {
        sealer.seal(&secret, chunk, &mut records);
        each(secret.secret().clone(), &mut records, chunk.len());
    }
}

fn open(records: &[(Vec<u8>, usize, Secret)]) {
    let mut sealer = Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT);
    let mut plain = Vec::new();
    for (record, length, secret) in records {
        let secret = isos_store::key::SealSecret::from_secret(secret.clone());
        plain.clear();
        sealer.open(&secret, record, *length, &mut plain).expect("it was sealed here");
        black_box(&plain);
    }
}

/// As the packer hands segments over: with room for the padding.
fn with_room(segment: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(segment.len() + 4_096);
    bytes.extend_from_slice(segment);
    bytes
}

fn coded(code: Code, data: &[u8]) -> Vec<Coded> {
    let mut coder = Coder::new();
    data.chunks(4 << 20).map(|segment| coder.encode(code, with_room(segment))).collect()
}

fn gather(coded: &[Coded], data: &[u8], from: u16) -> f64 {
    let mut coder = Coder::new();
    measure_mut(data, |_| {
        for one in coded {
            let gather = collect(one, from);
            black_box(gather.decode(&mut coder).expect("there are enough"));
        }
    })
}

fn collect(coded: &Coded, from: u16) -> Gather {
    let code = coded.code();
    let mut gather = Gather::new(code, coded.length(), coded.names().to_vec());
    for index in from..from + code.m() {
        gather.offer(index, coded.fragment(index)).expect("it was coded here");
    }
    gather
}

fn answer(coded: &[Coded]) {
    for one in coded {
        for index in 0..one.code().n() {
            let bytes = one.fragment(index);
            black_box(Groups::of(&bytes));
        }
    }
}

type Put = (Vec<Coded>, isos_store::manifest::Manifest, isos_store::capability::ReadCapability);

fn put(code: Code, data: &[u8]) -> Put {
    let settings = Settings::new(Class::Standard, code, Cipher::of_this_cpu());
    let mut writer = Writer::new(owner(), settings).expect("the profile is ours");
    let (mut ready, mut kept) = (Vec::new(), Vec::new());
    writer.begin("data").expect("it is the first");
    for piece in data.chunks(CHUNK_BYTES_MAX) {
        writer.push(piece, &mut ready).expect("it fits");
        kept.append(&mut ready);
    }
    writer.end(&mut ready).expect("it fits");
    let (manifest, capability) = writer.finish(&mut ready).expect("it fits");
    kept.append(&mut ready);
    (kept, manifest, capability)
}

fn get(code: Code, data: &[u8], from: u16) -> f64 {
    let (coded, manifest, capability) = put(code, data);
    measure(data, &|data| {
        let mut coder = Coder::new();
        let mut decode = |coded| collect(coded, from).decode(&mut coder).expect("there are enough");
        let segments: Vec<Vec<u8>> = coded.iter().map(&mut decode).collect();
        let mut reader = Reader::open(&manifest, &capability).expect("it is this object's");
        let file = reader.content().files[0].clone();
        let mut plain = Vec::with_capacity(data.len());
        let given = |number: u32| segments.get(number as usize).map(Vec::as_slice);
        reader.read(&file, &(0..file.size), given, &mut plain).expect("all is there");
        assert!(plain == data);
    })
}

fn measure(data: &[u8], run: &dyn Fn(&[u8])) -> f64 {
    measure_mut(data, run)
}

fn measure_mut(data: &[u8], mut run: impl FnMut(&[u8])) -> f64 {
    let spans = (0..ROUNDS).map(|_| {
        let begin = processor_time();
        run(data);
        processor_time() - begin
    });
    data.len() as f64 / 1e6 / spans.min().unwrap_or_default().as_secs_f64().max(1e-9)
}

/// What this thread has had of a core; on systems that do not tell, what a clock says.
#[expect(clippy::disallowed_methods, reason = "a measurement is about this machine and its time")]
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    nanos.map_or_else(clock, Duration::from_nanos)
}

#[expect(clippy::disallowed_methods, reason = "a program has arguments")]
fn arguments() -> Vec<String> {
    std::env::args().skip(1).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Compresses about three to one: words by chance.
fn text(length: usize) -> Vec<u8> {
    let mut random = isos_base::random::Random::new(1);
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        let word = format!("word{} ", random.below(4_000));
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.truncate(length);
    bytes
}
