//! Keys of an account: one on each machine of its holder, and a phrase for when they are lost.

use std::io::{Read, Write};

use anyhow::Context as _;
use bip39::Mnemonic;
use clap::builder::NonEmptyStringValueParser as NonEmpty;
use isos_base::api::{AddKeyRequest, LoginRequest};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::keyring::{Claim, SignedClaim, Want, recovery_key};
use isos_base::ticket::Ticket;
use isos_base::{Guid, Span, Time};
use isos_sdk::{Address, Client};

use crate::clock;
use crate::commands::token::{make_key, read_key};
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::{KeyList, KeyRemoved, NewToken, Phrase, Recovering, RecoveryStopped};

/// Characters of a recovery phrase: twelve words have some eighty.
const PHRASE_CHARS_MAX: u64 = 512;
/// Of a ticket that carries no right: it has no end (31 December 9999).
const NO_END: Time = Time(253_402_214_400_000_000);
/// Bytes that a phrase stands for: twelve words.
const ENTROPY_BYTES: usize = 16;

/// What to do with keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Add this machine's key, which is made if there is none, by a right that may manage
    Add {
        /// What to call it: laptop, phone, work
        #[arg(value_name = "LABEL")]
        label: String,
        /// To which account
        #[arg(long, value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
        /// What it allows [default: join, submit, read and manage, as far as one may oneself]
        #[arg(long, value_name = "RIGHT,...", value_delimiter = ',')]
        rights: Option<Vec<String>>,
    },
    /// List the keys of an account, and a recovery that waits
    List {
        /// Its number or name
        #[arg(value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
    },
    /// Give a key another label
    Label {
        /// The key, its beginning, or its label
        #[arg(value_name = "KEY")]
        key: String,
        /// The new label
        #[arg(value_name = "LABEL")]
        label: String,
        /// Of which account
        #[arg(long, value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
    },
    /// Remove a key: it, and tickets and tokens that were made with it, are good no more, at once
    Remove {
        /// The key, its beginning, or its label
        #[arg(value_name = "KEY")]
        key: String,
        /// Of which account
        #[arg(long, value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
    },
}

/// What to do with a recovery.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Recovery {
    /// Print a phrase of twelve words, once: write it on paper. An earlier one is good no more
    Create {
        /// For which account
        #[arg(long, value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
    },
    /// Stop a recovery that waits: somebody has the phrase who should not
    Stop {
        /// Of which account
        #[arg(value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
    },
}

/// An account by its phrase.
#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArgs {
    /// The twelve words, or - to read them from stdin, where no other program sees them
    #[arg(value_name = "WORD", required = true)]
    words: Vec<String>,
    /// What to call this machine's key
    #[arg(long, value_name = "LABEL", default_value = "recovered")]
    label: String,
}

/// A token for a key.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// Only these rights: join, submit, read, manage
    #[arg(long, value_name = "RIGHT,...", value_delimiter = ',')]
    rights: Option<Vec<String>>,
    /// For how long, a day at the most
    #[arg(long, value_name = "TIME", default_value = "1h")]
    valid: Span,
    /// The key of the complex, where no ticket says it
    #[arg(long, value_name = "KEY")]
    complex: Option<PublicKey>,
}

/// Adds, lists, renames, removes.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let here = own_key(context)?.map(|key| key.public());
    match command {
        Command::Add { label, account, rights } => {
            let client = context.client()?;
            let complex = complex(context, client).await?;
            let key = own_or_new_key(context)?;
            let claim = claim(complex, &key, Want::Belong)?;
            let request = AddKeyRequest { claim, label, rights, recovery: false };
            let keyring = client.add_key(&account, &request).await?;
            remember(context)?;
            context.out.show(&KeyList { keyring, here: Some(key.public()) })?;
        }
        Command::List { account } => {
            let keyring = context.client()?.keys(&account).await?;
            context.out.show(&KeyList { keyring, here })?;
        }
        Command::Label { key, label, account } => {
            let client = context.client()?;
            let key = find(client, &account, &key).await?;
            client.label_key(&account, &key, &label).await?;
            let keyring = client.keys(&account).await?;
            context.out.show(&KeyList { keyring, here })?;
        }
        Command::Remove { key, account } => {
            let client = context.client()?;
            let key = find(client, &account, &key).await?;
            client.remove_key(&account, &key).await?;
            context.out.show(&KeyRemoved(key))?;
        }
    }
    Ok(End::Ok)
}

/// Makes a phrase, or stops what was asked for with one.
pub(crate) async fn recovery(command: Recovery, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    match command {
        Recovery::Create { account } => {
            let complex = complex(context, client).await?;
            let mut entropy = [0; ENTROPY_BYTES];
            fill(&mut entropy)?;
            let phrase =
                Mnemonic::from_entropy(&entropy).map_err(|error| anyhow::anyhow!("{error}"))?;
            let key = recovery_key(&entropy);
            let claim = claim(complex, &key, Want::Belong)?;
            let label = "recovery phrase".into();
            let request = AddKeyRequest { claim, label, rights: None, recovery: true };
            client.add_key(&account, &request).await?;
            context.out.show(&Phrase { phrase: phrase.to_string(), key: key.public() })?;
        }
        Recovery::Stop { account } => {
            client.stop_recovery(&account).await?;
            context.out.show(&RecoveryStopped)?;
        }
    }
    Ok(End::Ok)
}

/// Asks for an account.
pub(crate) async fn recover(args: RecoverArgs, context: &Context) -> anyhow::Result<End> {
    let entropy = entropy(&phrase(&args.words)?)?;
    let Some(complex) = context.settings.complex() else {
        let how = "say where the account is by a ticket, old or new: --server TICKET";
        return Err(Refusal::usage(how).into());
    };
    let key = own_or_new_key(context)?;
    let phrase = recovery_key(&entropy);
    let want = Want::Recover { key: key.public(), label: args.label, consent: String::new() };
    let claim = unsigned(complex, &phrase, want)?.agreed_by(&key).sign(&phrase);
    let reply = context.client()?.recover(&claim).await?;
    remember(context)?;
    context.out.show(&Recovering { reply, key: key.public(), now: clock::now() })?;
    Ok(End::Ok)
}

/// Signs, and prints what it gets for that.
pub(crate) async fn login(args: LoginArgs, context: &Context) -> anyhow::Result<End> {
    let key = own_key(context)?.ok_or_else(|| {
        Refusal::usage("this machine has no key: `isos account key add LABEL` makes one")
    })?;
    let complex = args.complex.or_else(|| context.settings.complex()).ok_or_else(|| {
        Refusal::usage("which complex? Say its key by --complex, or name it by a ticket")
    })?;
    let claim = claim(complex, &key, Want::Login)?;
    let request = LoginRequest { claim, rights: args.rights, valid: Some(args.valid) };
    let reply = context.client()?.login(&request).await?;
    context.out.show(&NewToken { text: reply.token })?;
    Ok(End::Ok)
}

/// The key of the complex that is asked.
async fn complex(context: &Context, client: &Client) -> anyhow::Result<PublicKey> {
    match context.settings.complex() {
        Some(key) => Ok(key),
        None => Ok(client.status().await?.key),
    }
}

fn own_key(context: &Context) -> anyhow::Result<Option<SecretKey>> {
    let file = context.settings.paths.account_key();
    if file.exists() { read_key(&file).map(Some) } else { Ok(None) }
}

fn own_or_new_key(context: &Context) -> anyhow::Result<SecretKey> {
    if let Some(key) = own_key(context)? {
        return Ok(key);
    }
    let file = context.settings.paths.account_key();
    if let Some(folder) = file.parent() {
        let made = std::fs::create_dir_all(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    make_key(&file)
}

/// Keeps where the account is, so that later commands need no ticket; no right is kept.
fn remember(context: &Context) -> anyhow::Result<()> {
    let Some(server) = &context.settings.server else { return Ok(()) };
    let Ok(Address::Ticket(ticket)) = server.value.parse() else { return Ok(()) };
    let bare = Ticket { token: Vec::new(), expires: NO_END, ..*ticket };
    let path = context.settings.paths.account_file();
    let write = || {
        let mut file = std::fs::File::create(&path)?;
        writeln!(file, "{bare}")
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn fill(bytes: &mut [u8]) -> anyhow::Result<()> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))
}

/// What a key says, now.
pub(crate) fn claim(
    complex: PublicKey,
    key: &SecretKey,
    want: Want,
) -> anyhow::Result<SignedClaim> {
    Ok(unsigned(complex, key, want)?.sign(key))
}

fn unsigned(complex: PublicKey, key: &SecretKey, want: Want) -> anyhow::Result<Claim> {
    let mut nonce = Guid([0; 32]);
    fill(&mut nonce.0)?;
    Ok(Claim { complex, key: key.public(), at: clock::now(), nonce, want })
}

/// The one key of an account that is meant.
async fn find(client: &Client, account: &str, text: &str) -> anyhow::Result<PublicKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let keys = client.keys(account).await?.keys;
    let is_meant =
        |key: &PublicKey, label: &str| label == text || key.to_string().starts_with(text);
    let mut found = keys.iter().filter(|key| is_meant(&key.key, &key.label));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.key),
        (None, _) => {
            Err(Refusal::usage(format!("no key {text:?}: see `isos account key list`")).into())
        }
        _ => {
            Err(Refusal::usage(format!("{text:?} fits several keys: give more of the key")).into())
        }
    }
}

fn phrase(words: &[String]) -> anyhow::Result<String> {
    if words != ["-"] {
        return Ok(words.join(" "));
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PHRASE_CHARS_MAX + 1).read_to_string(&mut text);
    read.context("cannot read the phrase from stdin")?;
    Ok(text)
}

/// What the words of a phrase stand for.
fn entropy(phrase: &str) -> anyhow::Result<Vec<u8>> {
    let plain: Vec<String> = phrase.split_whitespace().map(str::to_lowercase).collect();
    let words = Mnemonic::parse_normalized(&plain.join(" "));
    let (bytes, length) = words
        .map_err(|error| Refusal::usage(format!("this is no recovery phrase: {error}")))?
        .to_entropy_array();
    if length != ENTROPY_BYTES {
        return Err(Refusal::usage("a recovery phrase has twelve words").into());
    }
    Ok(bytes[..length].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_read_as_it_was_written_down_and_a_wrong_word_is_found() {
        let phrase = Mnemonic::from_entropy(&[7; ENTROPY_BYTES]).unwrap().to_string();
        assert_eq!(phrase.split(' ').count(), 12);
        assert_eq!(entropy(&phrase).unwrap(), [7; ENTROPY_BYTES]);
        let shouted = format!("  {}\n", phrase.to_uppercase().replace(' ', "  "));
        assert_eq!(entropy(&shouted).unwrap(), [7; ENTROPY_BYTES]);
        let mut words: Vec<&str> = phrase.split(' ').collect();
        words.swap(0, 11);
        assert!(entropy(&words.join(" ")).is_err(), "the checksum is of the order as well");
        assert!(entropy("twelve words that are not on the list of words at all").is_err());
        let long = Mnemonic::from_entropy(&[7; 32]).unwrap().to_string();
        assert!(entropy(&long).unwrap_err().to_string().contains("twelve"));
    }
}
