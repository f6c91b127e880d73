// One timeline for each task: zooms by wheel, buttons or two fingers, moves by dragging, says what is under the pointer.
'use strict';
function drawTimeline(figure) {
  const data = JSON.parse(figure.querySelector('script').textContent);
  const canvas = figure.querySelector('canvas'), said = figure.querySelector('output');
  const {ends, states, colours, lanes, marks} = data, last = ends[ends.length - 1], resting = said.textContent;
  const names = Object.keys(states), pen = canvas.getContext('2d');
  const bands = [['array', 0.1, 0.5], ...lanes.map((lane, i) => [lane.name, 0.65 + 0.11 * i, 0.07])];
  let from = 0, to = last, dragged = null;
  const start = (i) => i ? ends[i - 1] : 0;
  const width = () => canvas.clientWidth, at = (x) => from + (to - from) * x / width();
  const found = (cycle) => { let i = 0, j = ends.length - 1; while (i < j) { const k = (i + j) >> 1; if (ends[k] <= cycle) i = k + 1; else j = k; } return i; };
  function draw() {
    const scale = window.devicePixelRatio || 1, w = width(), h = canvas.clientHeight;
    canvas.width = w * scale; canvas.height = h * scale; pen.scale(scale, scale); pen.font = '12px system-ui, sans-serif';
    const place = (cycle) => (cycle - from) / (to - from) * w;
    for (let i = found(from); i < ends.length && start(i) < to; i++) {
      const x = place(start(i)), wide = Math.max(place(ends[i]) - x, 0.5) + 0.3, span = ends[i] - start(i);
      let y = (bands[0][1] + bands[0][2]) * h;
      for (const name of names) {
        const tall = states[name][i] / span * bands[0][2] * h;
        pen.fillStyle = colours[name]; pen.fillRect(x, y - tall, wide, tall); y -= tall;
      }
      lanes.forEach((lane, k) => {
        const tall = Math.min(lane.values[i] / (span * lane.most), 1) * bands[k + 1][2] * h;
        pen.fillStyle = lane.colour; pen.fillRect(x, (bands[k + 1][1] + bands[k + 1][2]) * h - tall, wide, tall);
      });
    }
    pen.fillStyle = pen.strokeStyle = '#1b1e23'; pen.lineWidth = 0.5;
    let before = 0, free = 0;
    for (const [name, end] of marks) {
      const x = place(end), middle = place((Math.max(before, from) + Math.min(end, to)) / 2), half = pen.measureText(name).width / 2;
      if (end > from && before < to && middle - half > free && middle + half < w && x - place(before) > half) { pen.fillText(name, middle - half, 0.075 * h); free = middle + half + 4; }
      pen.beginPath(); pen.moveTo(x, 0.1 * h); pen.lineTo(x, h - 16); pen.stroke();
      before = end;
    }
    for (const [name, y] of bands.slice(1)) pen.fillText(name, 4, y * h - 1);
    pen.fillText(Math.round(from).toLocaleString('en'), 2, h - 2);
    const right = Math.round(to).toLocaleString('en') + ' cycles';
    pen.fillText(right, w - pen.measureText(right).width - 2, h - 2);
  }
  function look(a, b) {
    const span = Math.min(Math.max(b - a, 8 * last / ends.length), last);
    from = Math.min(Math.max((a + b - span) / 2, 0), last - span); to = from + span; draw();
  }
  const zoom = (factor, cycle) => look(cycle - (cycle - from) * factor, cycle + (to - cycle) * factor);
  canvas.addEventListener('wheel', (e) => { e.preventDefault(); zoom(e.deltaY > 0 ? 1.25 : 0.8, at(e.offsetX)); }, {passive: false});
  canvas.addEventListener('pointerdown', (e) => { dragged = [e.clientX, from, to]; });
  window.addEventListener('pointerup', () => { dragged = null; });
  canvas.addEventListener('pointerleave', () => { said.textContent = resting; });
  canvas.addEventListener('pointermove', (e) => {
    if (dragged) { const by = (dragged[0] - e.clientX) / width() * (dragged[2] - dragged[1]); look(dragged[1] + by, dragged[2] + by); }
    const cycle = at(e.clientX - canvas.getBoundingClientRect().left), i = found(cycle), span = ends[i] - start(i);
    const share = (value, most) => Math.round(100 * value / (span * most)) + ' %';
    const part = (marks.find((mark) => cycle < mark[1]) || marks[marks.length - 1])[0];
    said.textContent = `${/^\d/.test(part) ? 'block ' : ''}${part}, cycles ${start(i).toLocaleString('en')} to ${ends[i].toLocaleString('en')}: ` +
      [...names.map((name) => `${name} ${share(states[name][i], 1)}`), ...lanes.map((lane) => `${lane.name} ${share(lane.values[i], lane.most)}`)].join(', ');
  });
  const by = {in: () => zoom(0.5, (from + to) / 2), out: () => zoom(2, (from + to) / 2), all: () => look(0, last)};
  figure.querySelectorAll('button').forEach((button) => button.addEventListener('click', by[button.value]));
  new ResizeObserver(draw).observe(canvas);
}
document.querySelectorAll('figure.timeline').forEach(drawTimeline);
// One task at a time: the others' sections are hidden, also when a link leads to one.
const tasks = [...document.querySelectorAll('section.task')], switches = [...document.querySelectorAll('.switch button')];
function show(id) {
  if (tasks.length < 2 || !tasks.some((task) => task.id === id)) return;
  tasks.forEach((task) => { task.hidden = task.id !== id; });
  switches.forEach((button) => button.setAttribute('aria-pressed', button.value === id));
}
switches.forEach((button) => button.addEventListener('click', () => show(button.value)));
addEventListener('hashchange', () => { show(location.hash.slice(1)); const to = document.getElementById(location.hash.slice(1)); if (to) to.scrollIntoView(); });
if (tasks.length) { show(tasks[0].id); show(location.hash.slice(1)); }
