// Draws one dashboard with Grafana's own components, once; document.title then says "drawn", or what is wrong.
import {
  applyFieldOverrides,
  createTheme,
  type DataFrame,
  type FieldConfigPropertyItem,
  type FieldDisplay,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  standardFieldConfigEditorRegistry,
  ThemeContext,
  VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries, VizRepeater, type VizRepeaterRenderValueProps } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { check, CUSTOM_PROPERTIES, FIELD_PROPERTIES } from './known';
import { dependencies } from './package.json';
import { frames, lastMinutes, type Store } from './prometheus';

type Json = any;
type Rendered = VizRepeaterRenderValueProps<FieldDisplay, Json>;

declare global {
  interface Window {
    // Put here by pictures.mjs before the page is read.
    job: { dashboard: Json; address: string; minutes: number; scrapeSeconds: number };
  }
}

const WIDTH = 1400;
// As Grafana's own grid: 24 columns, rows of 30 pixels, 8 between panels.
const [COLUMNS, ROW, GAP, HEADER] = [24, 30, 8, 48];
const COLUMN = (WIDTH - (COLUMNS + 1) * GAP) / COLUMNS;
// What a panel of lines has where its file says nothing.
const LINES = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  spanNulls: false,
  insertNulls: false,
  showPoints: 'auto',
  pointSize: 5,
  axisPlacement: 'auto',
  axisColorMode: 'text',
  axisCenteredZero: false,
  scaleDistribution: { type: 'linear' },
  hideFrom: { legend: false, tooltip: false, viz: false },
};
const theme = createTheme();
const SIGN = { width: 14, height: 14, border: '1px solid', borderRadius: 7, fontSize: 10, lineHeight: '12px', textAlign: 'center' } as const;

const property = (path: string, isCustom: boolean) => ({
  id: isCustom ? `custom.${path}` : path,
  ...{ path, isCustom, name: path, process: (value: unknown) => value, shouldApply: () => true },
});
standardFieldConfigEditorRegistry.setInit(
  () =>
    [
      ...FIELD_PROPERTIES.map((path) => property(path, false)),
      ...CUSTOM_PROPERTIES.map((path) => property(path, true)),
    ] as unknown as FieldConfigPropertyItem[]
);

function place({ x, y, w, h }: Json) {
  const size = (cells: number, cell: number) => cells * cell + (cells - 1) * GAP;
  return {
    left: GAP + x * (COLUMN + GAP),
    top: HEADER + y * (ROW + GAP),
    width: size(w, COLUMN),
    height: size(h, ROW),
  };
}

function configured(panel: Json, data: DataFrame[]): DataFrame[] {
  for (const field of panel.type === 'timeseries' ? data.flatMap((frame) => frame.fields) : []) {
    const said = panel.fieldConfig.defaults.custom ?? {};
    field.config.custom = { ...LINES, ...said, stacking: { group: 'A', ...said.stacking } };
  }
  return applyFieldOverrides({ data, fieldConfig: panel.fieldConfig, replaceVariables: (text) => text, theme, timeZone: 'utc' });
}

function Values({ panel, data, width, height }: { panel: Json; data: DataFrame[]; width: number; height: number }) {
  const { options, fieldConfig } = panel;
  const orientation = options.orientation ?? VizOrientation.Auto;
  const stat = ({ value, alignmentFactors, count, width, height }: Rendered) => (
    <BigValue
      value={value.display}
      count={count}
      colorMode={options.colorMode}
      graphMode={options.graphMode}
      textMode={options.textMode}
      justifyMode={'auto' as Json}
      alignmentFactors={alignmentFactors}
      text={options.text}
      {...{ width, height, theme }}
    />
  );
  const bar = ({ value, alignmentFactors, orientation, width, height }: Rendered) => (
    <BarGauge
      value={value.display}
      field={value.field}
      display={value.view?.getFieldDisplayProcessor(value.colIndex!)}
      displayMode={options.displayMode}
      text={options.text}
      showUnfilled
      {...{ alignmentFactors, orientation, width, height, theme }}
    />
  );
  return (
    <VizRepeater
      source={data}
      getValues={() =>
        getFieldDisplayValues({ data, fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: (text) => text, theme, timeZone: 'utc' })
      }
      getAlignmentFactors={getDisplayValueAlignmentFactors as Json}
      renderValue={panel.type === 'stat' ? stat : bar}
      itemSpacing={panel.type === 'stat' ? 3 : 10}
      autoGrid={panel.type === 'stat'}
      minVizHeight={options.minVizHeight}
      maxVizHeight={options.maxVizHeight}
      renderCounter={0}
      {...{ width, height, orientation }}
    />
  );
}

function Panel({ panel, data, store }: { panel: Json; data: DataFrame[]; store: Store }) {
  const { width, height, ...at } = place(panel.gridPos);
  const drawn = (width: number, height: number) => {
    if (!data.length && !panel.fieldConfig.defaults.noValue) {
      return <div style={{ textAlign: 'center', paddingTop: height / 2 - 20, fontSize: 18 }}>No data</div>;
    }
    if (panel.type !== 'timeseries') {
      return <Values {...{ panel, data, width, height }} />;
    }
    const legend = { calcs: [], ...panel.options.legend };
    return <TimeSeries frames={data} timeRange={store.range} timeZone="utc" {...{ width, height, legend }} />;
  };
  return (
    <div style={{ position: 'absolute', ...at }}>
      {/* Grafana shows a description under a sign that its own server has the picture of. */}
      <PanelChrome title={panel.title} titleItems={panel.description && <span style={SIGN}>i</span>} {...{ width, height }}>
        {drawn}
      </PanelChrome>
    </div>
  );
}

async function draw() {
  const { dashboard, address, minutes, scrapeSeconds } = window.job;
  check(dashboard);
  const store = { address, scrapeSeconds, range: lastMinutes(minutes) };
  const panels = await Promise.all(
    dashboard.panels.map(async (panel: Json) => ({
      panel,
      data: configured(panel, await frames(store, panel.targets, place(panel.gridPos).width)),
    }))
  );
  const bottom = Math.max(...panels.map(({ panel }) => place(panel.gridPos).top + place(panel.gridPos).height));
  createRoot(document.body.appendChild(document.createElement('div'))).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'relative', width: WIDTH, height: bottom + GAP, background: theme.colors.background.canvas }}>
        <div style={{ display: 'flex', justifyContent: 'space-between', alignItems: 'center', height: HEADER, padding: `0 ${2 * GAP}px` }}>
          <span style={{ fontSize: 18, fontWeight: 500 }}>{dashboard.title}</span>
          <span style={{ color: theme.colors.text.secondary }}>
            last {minutes} minutes, UTC; a test platform, drawn with @grafana/ui {dependencies['@grafana/ui']}
          </span>
        </div>
        {panels.map(({ panel, data }) => (
          <Panel key={panel.id} {...{ panel, data, store }} />
        ))}
      </div>
    </ThemeContext.Provider>
  );
  document.body.dataset.height = `${bottom + GAP}`;
  document.body.dataset.empty = JSON.stringify(panels.filter(({ data }) => !data.length).map(({ panel }) => panel.title));
  await document.fonts.ready;
  // uPlot draws in the frame after the one in which React has made its canvas.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  document.title = 'drawn';
}

draw().catch((fault) => {
  document.title = `fault: ${fault.message}`;
});
