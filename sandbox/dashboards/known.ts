// What of a dashboard is drawn here. Anything else is refused: a picture without it would be taken for the whole.

// A path with all that is below it, or one with its possible values.
const DASHBOARD = known(`uid title tags schemaVersion time panels timezone=utc templating.list=`, [
  // Of Grafana's own frame around the panels, or for who has a pointer.
  ...['editable', 'refresh', 'links', 'annotations'],
]);
const EVERY_PANEL = `id type title description gridPos datasource targets fieldConfig.overrides
  fieldConfig.defaults.color.mode=thresholds,palette-classic,fixed fieldConfig.defaults.color.fixedColor
  fieldConfig.defaults.unit fieldConfig.defaults.min fieldConfig.defaults.max fieldConfig.defaults.decimals
  fieldConfig.defaults.noValue fieldConfig.defaults.mappings
  fieldConfig.defaults.thresholds.mode=absolute fieldConfig.defaults.thresholds.steps`;
const VALUES = `options.reduceOptions.calcs options.text.titleSize options.text.valueSize`;
const PANELS: Record<string, Known> = {
  timeseries: known(`${EVERY_PANEL} options.tooltip
    options.legend.displayMode=list options.legend.placement=bottom,right options.legend.showLegend
    fieldConfig.defaults.custom.drawStyle=line fieldConfig.defaults.custom.showPoints=never
    fieldConfig.defaults.custom.lineWidth fieldConfig.defaults.custom.lineStyle fieldConfig.defaults.custom.fillOpacity
    fieldConfig.defaults.custom.stacking.mode=none,normal fieldConfig.defaults.custom.axisSoftMax`),
  stat: known(`${EVERY_PANEL} ${VALUES} options.textMode=auto options.graphMode=none
    options.colorMode=none,background,background_solid`),
  bargauge: known(`${EVERY_PANEL} ${VALUES} options.displayMode=basic options.orientation=horizontal
    options.sizing=manual options.minVizHeight options.maxVizHeight`),
};
const TARGET = known('refId expr legendFormat instant range datasource');
const OVERRIDE = known('matcher.id=byName matcher.options properties');

type Known = Map<string, string[] | undefined>;

function known(words: string, more: string[] = []): Known {
  const paths = [...words.trim().split(/\s+/), ...more].map((word) => word.split('='));
  return new Map(paths.map(([path, values]) => [path, values?.split(',')]));
}

function refuseUnknown(value: unknown, known: Known, where: string, path = ''): void {
  if (known.has(path)) {
    if (known.get(path)?.includes(String(value)) === false) {
      throw new Error(`${where}: ${path} is ${JSON.stringify(value)}, which this viewer cannot draw`);
    }
  } else if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) {
      refuseUnknown(inner, known, where, path ? `${path}.${key}` : key);
    }
  } else {
    throw new Error(`${where}: ${path} is an option that this viewer does not know`);
  }
}

// Throws one sentence.
export function check(dashboard: any): void {
  refuseUnknown(dashboard, DASHBOARD, dashboard.title);
  for (const panel of dashboard.panels) {
    const where = `${dashboard.title} / ${panel.title}`;
    const known = PANELS[panel.type];
    if (!known) {
      throw new Error(`${where} is a panel of type ${panel.type}, which this viewer does not know`);
    }
    refuseUnknown(panel, known, where);
    panel.targets.forEach((target: unknown) => refuseUnknown(target, TARGET, `${where}, target`));
    for (const rule of panel.fieldConfig.overrides) {
      refuseUnknown(rule, OVERRIDE, `${where}, override`);
      for (const { id, value } of rule.properties) {
        refuseUnknown(value, known, `${where}, override`, `fieldConfig.defaults.${id}`);
      }
    }
  }
}

const FIELD = [...PANELS.timeseries.keys()].filter((path) => path.startsWith('fieldConfig.defaults.')).map((path) => path.split('.').slice(2));
// What applyFieldOverrides takes over, of every panel and of a panel of lines.
export const FIELD_PROPERTIES = [...new Set(FIELD.map(([name]) => name))].filter((name) => name !== 'custom');
export const CUSTOM_PROPERTIES = FIELD.filter(([name]) => name === 'custom').map(([, name]) => name);
