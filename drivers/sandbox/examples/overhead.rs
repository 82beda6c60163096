//! Measures what a task costs beyond its own work: `cargo run --release --example overhead`.
//!
//! Prints the time to open a chamber, and the rate of tasks of a trivial program, which does no
//! more than return, and of a Rust program that prints a line (an argument names another file).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use isos_base::job::JobSpec;
use isos_base::{Bytes, Guid, JobId, Span};
use isos_sandbox::{Event, Order, Part, Sandbox, SandboxConfig, Setup};

const CHILD: &str = "sandbox-child";
const TASKS: u32 = 10_000;
const TRIVIAL: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|first| first == CHILD).is_some() {
        return Ok(isos_sandbox::child_main(args));
    }
    let folder = tempfile::TempDir::new()?;
    let trivial = folder.path().join("trivial.wasm");
    std::fs::write(&trivial, wat::parse_str(TRIVIAL)?)?;
    let spin = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest/modules/spin.wasm");
    let spin = args.next().map_or(spin.into(), PathBuf::from);
    let config = SandboxConfig::new(
        std::env::current_exe()?,
        vec![CHILD.into()],
        folder.path().join("code"),
    );
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let sandbox = Sandbox::new(config)?;
        measure(&sandbox, folder.path(), "trivial module", &trivial).await?;
        measure(&sandbox, folder.path(), "Rust program", &spin).await
    })?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "an example that prints its measurements")]
async fn measure(sandbox: &Sandbox, inputs: &Path, name: &str, wasm: &Path) -> Result<()> {
    let program = Guid::of(&std::fs::read(wasm)?);
    let start = Instant::now();
    let prepared = sandbox.prepare(program, wasm).await?;
    println!("{name}: compiled in {:.1?}", start.elapsed());
    for (threads, batch) in [(1, 1), (1, 1_000), (2, 1), (2, 16), (2, 1_000)] {
        let setup = Setup {
            job: JobId(1),
            spec: JobSpec::new(program, Bytes(1), TASKS),
            input_dir: inputs.to_owned(),
            own_dir: None,
            threads,
            idle: false,
            save_every: Span::secs(60),
        };
        let start = Instant::now();
        let (chamber, mut events) = sandbox.open(&prepared, setup).await?;
        let opened = start.elapsed();
        let start = Instant::now();
        let sender = tokio::spawn(async move {
            let tasks: Vec<u32> = (0..TASKS).collect();
            for part in tasks.chunks(batch) {
                let orders = part
                    .iter()
                    .map(|task| Order { task: *task, file: None, part: Part::default() })
                    .collect();
                if chamber.send(orders).await.is_err() {
                    break;
                }
            }
            chamber
        });
        let (mut done, mut inside) = (0, 0);
        while done < TASKS {
            match events.next().await {
                Some(Event::Finished(batch)) => {
                    done += batch.len() as u32;
                    inside += batch.iter().map(|execution| execution.wall.0).sum::<u64>();
                }
                other => return Err(format!("{other:?}").into()),
            }
        }
        let took = start.elapsed();
        println!(
            "{name}: {threads} threads, {batch} orders a batch: opened in {opened:.1?}, {:.0} \
             tasks/s, {:.1} us a task in its thread",
            f64::from(TASKS) / took.as_secs_f64(),
            inside as f64 / f64::from(TASKS)
        );
        drop(sender.await?);
    }
    Ok(())
}
