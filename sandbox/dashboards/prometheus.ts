// What Grafana's Prometheus data source makes of a target: frames of @grafana/data with a name for each series.
import { dateTime, type DataFrame, type FieldConfig, FieldType, rangeUtil, type TimeRange, toDataFrame } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  instant?: boolean;
}

interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: Array<[number, string]>;
}

export interface Store {
  address: string;
  // Of the data source, its jsonData.timeInterval.
  scrapeSeconds: number;
  range: TimeRange;
}

export function lastMinutes(minutes: number): TimeRange {
  const to = dateTime();
  return { from: dateTime(to.valueOf() - minutes * 60_000), to, raw: { from: `now-${minutes}m`, to: 'now' } };
}

export async function frames(store: Store, targets: Target[], pixels: number): Promise<DataFrame[]> {
  return (await Promise.all(targets.map((target) => ask(store, target, pixels)))).flat();
}

async function ask(store: Store, target: Target, pixels: number): Promise<DataFrame[]> {
  const least = store.scrapeSeconds * 1000;
  const { intervalMs } = rangeUtil.calculateInterval(store.range, Math.round(pixels), `${least}ms`);
  // https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/#use-__rate_interval
  const rate = Math.max(intervalMs + least, 4 * least);
  const all = store.range.to.diff(store.range.from, 'seconds');
  const query = target.expr.replaceAll('$__rate_interval', `${rate / 1000}s`).replaceAll('$__range', `${all}s`);
  if (query.includes('$')) {
    throw new Error(`the query ${target.expr} has a variable that is not known here`);
  }
  const step = intervalMs / 1000;
  const [from, to] = [store.range.from, store.range.to].map((time) => Math.floor(time.unix() / step) * step);
  const parameters: Record<string, string> = target.instant
    ? { query, time: `${store.range.to.unix()}` }
    : { query, start: `${from}`, end: `${to}`, step: `${step}` };
  const path = target.instant ? 'query' : 'query_range';
  const answer = await fetch(`${store.address}/api/v1/${path}?${new URLSearchParams(parameters)}`).catch(() => {
    throw new Error(`no Prometheus answers on ${store.address}`);
  });
  const said = await answer.json();
  if (said.status !== 'success') {
    throw new Error(`Prometheus refuses ${query}: ${said.error}`);
  }
  const found: Series[] = said.data.resultType === 'scalar' ? [{ metric: {}, value: said.data.result }] : said.data.result;
  return found.map((series) => frame(series, target, intervalMs));
}

function frame(series: Series, target: Target, interval: number): DataFrame {
  const points = series.values ?? [series.value!];
  const named: FieldConfig = { displayNameFromDS: legend(series.metric, target) };
  return toDataFrame({
    refId: target.refId,
    fields: [
      // A longer step than this is a gap in the line.
      { name: 'Time', type: FieldType.time, config: { interval }, values: points.map(([time]) => time * 1000) },
      { name: 'Value', type: FieldType.number, config: named, labels: series.metric, values: points.map(([, value]) => Number(value)) },
    ],
  });
}

function legend(labels: Record<string, string>, target: Target): string {
  if (target.legendFormat) {
    return target.legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
  }
  const { __name__: name = '', ...others } = labels;
  const text = Object.entries(others).map(([label, value]) => `${label}="${value}"`);
  return text.length || name ? `${name}{${text.join(', ')}}` : target.expr;
}
