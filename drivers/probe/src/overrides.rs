//! A file in which tests play the owner: it replaces readings while it exists.
//!
//! TOML; each key may be left out, and each may say `"unknown"` or `"unknown: why"`.
//!
//! ```toml
//! idle = "0s"
//! other_load = 1.5          # cores
//! memory_free = "2GiB"
//! disk_free = "10GiB"
//! power = "battery 45%"     # or "mains"
//! metered = true
//! temperature = 71.5        # degrees Celsius
//! utc_offset = "+02:00"     # cannot be unknown
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use isos_base::Bytes;
use isos_base::sensors::{Power, Reading, Sensors};
use isos_base::time::Span;
use serde::Deserialize;
use toml::Value;

const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    idle: Option<Value>,
    other_load: Option<Value>,
    memory_free: Option<Value>,
    disk_free: Option<Value>,
    power: Option<Value>,
    metered: Option<Value>,
    temperature: Option<Value>,
    utc_offset: Option<String>,
}

/// The file's bytes; `None` if there is no file.
pub(crate) fn load(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Replaces what the file replaces. A file that is wrong makes every reading unknown, and says why.
pub(crate) fn apply(path: &Path, sensors: &mut Sensors) {
    let done = match load(path) {
        Ok(None) => Ok(()),
        Ok(Some(bytes)) => replace(&String::from_utf8_lossy(&bytes), sensors),
        Err(e) => Err(e.to_string()),
    };
    if let Err(reason) = done {
        let reason = format!("sensors file {}: {reason}", path.display());
        sensors.idle = Reading::Unknown(reason.clone());
        sensors.other_load = Reading::Unknown(reason.clone());
        sensors.memory_free = Reading::Unknown(reason.clone());
        sensors.disk_free = Reading::Unknown(reason.clone());
        sensors.power = Reading::Unknown(reason.clone());
        sensors.metered = Reading::Unknown(reason.clone());
        sensors.temperature = Reading::Unknown(reason);
    }
}

/// The pure part of [`apply`]. On an error some readings are replaced.
pub(crate) fn replace(text: &str, sensors: &mut Sensors) -> Result<(), String> {
    let file: Overrides = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    set(&mut sensors.idle, file.idle, "idle", parsed::<Span>)?;
    set(&mut sensors.other_load, file.other_load, "other_load", cores)?;
    set(&mut sensors.memory_free, file.memory_free, "memory_free", bytes)?;
    set(&mut sensors.disk_free, file.disk_free, "disk_free", bytes)?;
    set(&mut sensors.power, file.power, "power", power)?;
    set(&mut sensors.metered, file.metered, "metered", |value| {
        value.as_bool().ok_or_else(|| "use true or false".into())
    })?;
    set(&mut sensors.temperature, file.temperature, "temperature", degrees)?;
    if let Some(text) = file.utc_offset {
        sensors.clock.utc_offset_secs = utc_offset(&text)
            .ok_or_else(|| format!("utc_offset: {text:?} is not like \"+02:00\""))?;
    }
    Ok(())
}

fn set<T>(
    reading: &mut Reading<T>,
    value: Option<Value>,
    key: &str,
    parse: impl Fn(&Value) -> Result<T, String>,
) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    let unknown = value.as_str().and_then(|text| text.strip_prefix("unknown"));
    *reading = match unknown {
        Some("") => Reading::Unknown("the sensors file says so".into()),
        Some(reason) => Reading::Unknown(reason.trim_start_matches(':').trim().into()),
        None => Reading::Known(parse(&value).map_err(|reason| format!("{key}: {reason}"))?),
    };
    Ok(())
}

fn parsed<T: FromStr<Err: ToString>>(value: &Value) -> Result<T, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} must be in quotes"))?;
    text.parse().map_err(|e: T::Err| e.to_string())
}

fn bytes(value: &Value) -> Result<Bytes, String> {
    match value.as_integer().map(u64::try_from) {
        Some(Ok(number)) => Ok(Bytes(number)),
        _ => parsed(value),
    }
}

fn cores(value: &Value) -> Result<f32, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
    number
        .filter(|cores| (0.0..=65_536.0).contains(cores))
        .map(|cores| cores as f32)
        .ok_or_else(|| format!("{value} is no number of cores"))
}

fn degrees(value: &Value) -> Result<f32, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
    number
        .filter(|degrees| (-273.0..=1_000.0).contains(degrees))
        .map(|degrees| degrees as f32)
        .ok_or_else(|| format!("{value} is no temperature in degrees Celsius"))
}

fn power(value: &Value) -> Result<Power, String> {
    let text = value.as_str().unwrap_or_default();
    if text == "mains" {
        return Ok(Power::Mains);
    }
    text.strip_prefix("battery")
        .and_then(|rest| rest.trim().trim_end_matches('%').parse::<f32>().ok())
        .filter(|charge| (0.0..=100.0).contains(charge))
        .map(Power::Battery)
        .ok_or_else(|| format!("{value} is neither \"mains\" nor like \"battery 45%\""))
}

/// `+02:00` in seconds.
fn utc_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, max: i32| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|&n: &i32| digits && n <= max)
    };
    Some(sign * (number(hours, 15)? * 3_600 + number(minutes, 59)? * 60))
}
