//! A state as characters. Nothing is asked, and nothing but the state and the size decides.

use isos_base::Bytes;
use isos_base::api::{HostState, HostView, JobView, MarketView};
use isos_base::record::JobState;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::canvas::{Canvas, Map, MapResolution};
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Sparkline, Table, Tabs, Wrap};

use super::countries;
use super::state::{Panel, Top, cores, is_there};
use crate::output::{ago, credits, duration, one_line, plural};

/// Below this size there is one sentence.
const SMALL: (u16, u16) = (32, 8);
/// From this width on, a little of all stands beside the map.
const WIDE: u16 = 84;
/// Width of what stands there.
const BESIDE: u16 = 36;
/// Latitudes of the map: nobody lives further north or south.
const LATITUDES: [f64; 2] = [-58.0, 82.0];
/// Answers that are older are worth a word.
const OLD_SECS: u64 = 8;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let area = frame.area();
    if area.width < SMALL.0 || area.height < SMALL.1 {
        let text = Paragraph::new(format!("{} (q quits)", summary(top)));
        return frame.render_widget(text.wrap(Wrap { trim: true }), area);
    }
    let rows = [Constraint::Length(2), Constraint::Length(1), Constraint::Fill(1)];
    let [head, tabs, body, foot] =
        Layout::vertical(rows.into_iter().chain([Constraint::Length(1)])).areas(area);
    frame.render_widget(Paragraph::new(heading(top)), head);
    let names = Panel::ALL.map(Panel::name);
    let selected = Style::new().add_modifier(Modifier::REVERSED);
    let bar = Tabs::new(names).select(top.panel.at()).highlight_style(selected).divider(" ");
    frame.render_widget(bar, tabs);
    match top.panel {
        Panel::World => world(frame, body, top),
        Panel::Hosts => hosts(frame, body, top),
        Panel::Jobs => jobs(frame, body, top),
        Panel::Prices => prices(frame, body, top),
    }
    frame.render_widget(footing(top), foot);
}

/// A colour, where there may be some.
fn ink(top: &Top, color: Color) -> Style {
    if top.color { Style::new().fg(color) } else { Style::new() }
}

fn summary(top: &Top) -> String {
    let status = &top.status;
    let counts = &status.hosts;
    let there = counts.working + counts.idle + counts.asleep + counts.quiet;
    format!(
        "{}, {} working, {}; {}, {}",
        plural(there, "host"),
        counts.working,
        plural(status.cores, "core"),
        plural(status.jobs, "job"),
        plural(status.tasks_open, "open task"),
    )
}

fn heading(top: &Top) -> Vec<Line<'static>> {
    let status = &top.status;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let name = one_line(&top.address);
    let up = format!("up {}, isos {}", duration(status.up.rounded()), one_line(&status.version));
    let mut first = vec![Span::styled("isos top ", bold), Span::raw(format!("{name}  {up}"))];
    if top.paused {
        first.push(Span::styled("  paused", ink(top, Color::Yellow).patch(bold)));
    }
    let mut second = vec![Span::raw(summary(top))];
    let counts = &status.hosts;
    for (count, what) in [(counts.lost, "lost"), (counts.barred, "barred")] {
        if count > 0 {
            second.push(Span::styled(format!(", {count} {what}"), ink(top, Color::Red)));
        }
    }
    if status.ledger_wrong.is_some() || status.ledger_sum != 0 {
        let wrong = Style::new().add_modifier(Modifier::REVERSED);
        second.push(Span::styled("  the ledger is wrong: isos status", wrong));
    }
    vec![Line::from(first), Line::from(second)]
}

fn footing(top: &Top) -> Line<'static> {
    if let Some(why) = &top.trouble {
        let text = format!("as of {}: {}", ago(top.now, top.heard), one_line(why));
        return Line::styled(text, ink(top, Color::Red));
    }
    let keys = "q quit   tab panel   p pause   arrows scroll";
    if top.now.since(top.heard).as_secs_f64() as u64 >= OLD_SECS {
        return Line::raw(format!("{keys}   as of {}", ago(top.now, top.heard)));
    }
    Line::raw(keys)
}

fn world(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let beside = if area.width >= WIDE { BESIDE } else { 0 };
    let [map, side] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(beside)]).areas(area);
    let (land, busy, idle) =
        (ink(top, Color::DarkGray), ink(top, Color::Green), ink(top, Color::Cyan));
    let dots = top.countries();
    let bold = Modifier::BOLD;
    let canvas = Canvas::default()
        .block(Block::bordered().title(where_hosts_are(top)))
        .x_bounds([-180.0, 180.0])
        .y_bounds(LATITUDES)
        .paint(|on| {
            let color = land.fg.unwrap_or_default();
            on.draw(&Map { color, resolution: MapResolution::High });
            on.layer();
            for (country, it) in &dots {
                let Some((x, y)) = country.as_deref().and_then(countries::place) else { continue };
                let style = if it.working > 0 { busy } else { idle };
                let label = Span::styled(format!("●{}", it.hosts), style.add_modifier(bold));
                on.print(x, y, label);
            }
        });
    frame.render_widget(canvas, map);
    if beside > 0 {
        glance(frame, side, top);
    }
}

/// How many are on the map, and how many cannot be.
fn where_hosts_are(top: &Top) -> String {
    let all = top.countries();
    let is_placed = |name: &Option<String>| name.as_deref().and_then(countries::place).is_some();
    let placed: u32 = all.iter().filter(|(it, _)| is_placed(it)).map(|(_, it)| it.hosts).sum();
    let there: u32 = all.values().map(|it| it.hosts).sum();
    let counts = &top.status.hosts;
    let known = counts.working + counts.idle + counts.asleep + counts.quiet;
    let of_more = if known > there { format!(", of {known} in all") } else { String::new() };
    match (placed, there - placed) {
        (placed, 0) => format!(" {} by country{of_more} ", plural(placed, "host")),
        (placed, rest) => format!(" {placed} by country, {rest} elsewhere{of_more} "),
    }
}

/// A little of all: load, countries, prices, jobs.
fn glance(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let quarter = (area.height.saturating_sub(5)) / 3;
    let rows = [
        Constraint::Length(area.height.min(5)),
        Constraint::Length(quarter),
        Constraint::Length(quarter),
        Constraint::Fill(1),
    ];
    let [load, lands, markets, work] = Layout::vertical(rows).areas(area);
    let block = Block::bordered().title(format!(" load {} % ", top.load()));
    let inner = block.inner(load);
    frame.render_widget(block, load);
    let [bar, curve] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(inner);
    let gauge = Gauge::default().percent(top.load().min(100) as u16).label("");
    frame.render_widget(gauge.gauge_style(ink(top, Color::Green)), bar);
    let from = top.loads.len().saturating_sub(curve.width.into());
    let loads: Vec<u64> = top.loads.iter().skip(from).copied().collect();
    let curve_style = ink(top, Color::Green);
    frame.render_widget(Sparkline::default().data(loads).max(100).style(curve_style), curve);

    let mut by_size: Vec<_> = top.countries().into_iter().collect();
    by_size.sort_by_key(|(_, it)| std::cmp::Reverse((it.hosts, it.working)));
    let of_country = by_size.iter().map(|(name, it)| {
        let name = name.as_deref().map_or_else(|| "not told".into(), one_line);
        format!("{name:<9.9} {:>11} {:>3} working", plural(it.hosts, "host"), it.working)
    });
    list(frame, lands, " countries ", of_country.collect());
    let classes = top.prices.iter().flat_map(|prices| &prices.classes);
    let of_class = classes.map(|it| format!("{:<16.16} {:>12}", one_line(&it.class), it.price.0));
    list(frame, markets, " micro-credits a gigafuel ", of_class.collect());
    let active = top.jobs.iter().filter(|job| job.state == JobState::Active);
    let of_job = active.map(|job| format!("{:<20.20} {:>5} %", one_line(&job.name), part(job)));
    list(frame, work, " jobs that run ", of_job.collect());
}

fn list(frame: &mut Frame<'_>, area: Rect, title: &'static str, lines: Vec<String>) {
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

/// Percent of a job's tasks that have ended.
fn part(job: &JobView) -> u64 {
    let tasks = &job.tasks;
    let ended = u64::from(tasks.done) + u64::from(tasks.failed) + u64::from(tasks.given_up);
    ended * 100 / u64::from(tasks.total.max(1))
}

const fn state_of_host(state: HostState) -> (&'static str, Color) {
    match state {
        HostState::Working => ("working", Color::Green),
        HostState::Idle => ("idle", Color::Cyan),
        HostState::Asleep => ("asleep", Color::Blue),
        HostState::Quiet => ("quiet", Color::DarkGray),
        HostState::Lost => ("lost", Color::Red),
        HostState::Barred => ("barred", Color::Red),
    }
}

const fn state_of_job(state: JobState) -> (&'static str, Color) {
    match state {
        JobState::Active => ("active", Color::Green),
        JobState::Done => ("done", Color::Cyan),
        JobState::Failed => ("failed", Color::Red),
        JobState::Cancelled => ("cancelled", Color::DarkGray),
    }
}

/// A list from the row on that was scrolled to.
fn table<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &Top,
    (title, heads): (String, &[&'static str]),
    widths: &[Constraint],
    rows: impl Iterator<Item = Row<'a>>,
) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let head = Row::new(heads.iter().map(|head| Cell::from(*head))).style(bold);
    let table = Table::new(rows.skip(top.row), widths.iter().copied()).header(head);
    frame.render_widget(table.block(Block::bordered().title(title)), area);
}

/// `[####    ]`: how much of it is taken.
fn bar(taken: u32, of: u32) -> String {
    const WIDTH: u64 = 8;
    let full = u64::from(taken.min(of)) * WIDTH / u64::from(of.max(1));
    (0..WIDTH).map(|at| if at < full { '█' } else { '·' }).collect()
}

fn hosts(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let heads = ["host", "in", "state", "tasks", "cores", "load", "memory", "good", "bad", "seen"];
    let widths = [14, 4, 8, 6, 6, 9, 9, 8, 5, 12].map(Constraint::Length);
    let title = format!(" {} ", plural(top.hosts.len() as u64, "host"));
    let rows = top.hosts.iter().map(|host: &HostView| {
        let (state, color) = state_of_host(host.state);
        let offered = cores(host);
        let memory = host.offer.as_ref().map_or(Bytes::ZERO, |offer| offer.memory);
        let dim = if is_there(host.state) { Modifier::empty() } else { Modifier::DIM };
        Row::new([
            Cell::from(one_line(&host.spec.name)),
            Cell::from(host.spec.country.as_deref().map_or_else(|| "-".into(), one_line)),
            Cell::from(state).style(ink(top, color)),
            Cell::from(host.tasks.to_string()),
            Cell::from(format!("{offered}/{}", host.spec.cpus)),
            Cell::from(bar(host.tasks, offered)),
            Cell::from(memory.to_string()),
            Cell::from(host.good.to_string()),
            Cell::from(host.bad.to_string()),
            Cell::from(ago(top.now, host.seen)),
        ])
        .style(Style::new().add_modifier(dim))
    });
    table(frame, area, top, (title, &heads), &widths, rows);
}

fn jobs(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let heads = ["job", "name", "state", "done", "", "running", "hosts", "spent", "began"];
    let widths = [7, 18, 10, 13, 9, 8, 6, 18, 12].map(Constraint::Length);
    let title = format!(" {}, newest first ", plural(top.jobs.len() as u64, "job"));
    let rows = top.jobs.iter().map(|job: &JobView| {
        let (state, color) = state_of_job(job.state);
        let tasks = &job.tasks;
        Row::new([
            Cell::from(job.id.to_string()),
            Cell::from(one_line(&job.name)),
            Cell::from(state).style(ink(top, color)),
            Cell::from(format!("{}/{}", tasks.done, tasks.total)),
            Cell::from(bar(part(job) as u32, 100)),
            Cell::from(tasks.running.to_string()),
            Cell::from(job.hosts.to_string()),
            Cell::from(credits(job.spent)),
            Cell::from(ago(top.now, job.submitted)),
        ])
    });
    table(frame, area, top, (title, &heads), &widths, rows);
}

fn prices(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let Some(prices) = &top.prices else {
        return list(frame, area, " prices ", vec!["not asked yet".into()]);
    };
    let title = match (prices.fixed, prices.next) {
        (true, _) => " micro-credits a gigafuel, as the operator sets them ".into(),
        (false, Some(next)) => format!(" micro-credits a gigafuel, new {} ", ago(top.now, next)),
        (false, None) => " micro-credits a gigafuel ".into(),
    };
    let heads = ["class", "now", "last hour", "an hour of a core", "hosts", "supply", "demand"];
    let widths = [18, 12, 12, 20, 7, 8, 8].map(Constraint::Length);
    let rows = prices.classes.iter().map(|it: &MarketView| {
        Row::new([
            Cell::from(one_line(&it.class)),
            Cell::from(it.price.0.to_string()),
            Cell::from(it.hour.0.to_string()),
            Cell::from(credits(it.core_hour)),
            Cell::from(it.hosts.to_string()),
            Cell::from(it.supply.to_string()),
            Cell::from(it.demand.to_string()),
        ])
    });
    table(frame, area, top, (title, &heads), &widths, rows);
}
