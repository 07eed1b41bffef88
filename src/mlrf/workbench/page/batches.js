// Many rows for a model: sent in batches that the server's limit allows, two at a time, with what each row's answer says.
import { ask, ofModel, pause } from "./api.js";

const AT_ONCE = 2, FIRST_BATCH = 100, MOST_RETRIES = 5, RETRY_MS = 500;

// Ask for `rows` ({number, values}). Returns {answered, refused}: [{row, prediction, label, explanation}] in the order of the rows,
// and [{number, reason}]. `progress(done)` is called with the number of rows answered or refused.
export async function askRows(model, rows, signal, progress) {
  const found = new Map(), refused = [], queue = [];
  const task = { path: ofModel(model.name, "/predict/batch"), explain: true, size: FIRST_BATCH, signal };
  let done = 0;
  for (let i = 0; i < rows.length; i += task.size) queue.push(rows.slice(i, i + task.size));
  const work = async () => {
    for (let batch; (batch = queue.shift()); ) {
      try {
        const answer = await askBatch(task, batch);
        batch.forEach((row, i) => found.set(row.number, ofRow(row, answer, i)));
      } catch (error) {
        const { max_instances: most, index } = error.details ?? {};
        if (error.code === "NOT_EXPLAINABLE" || (error.status === 403 && task.explain)) {
          task.explain = false;
          queue.unshift(batch);
        } else if (error.code === "BATCH_TOO_LARGE" && most > 0 && most < batch.length) {
          for (let i = 0; i < batch.length; i += most) queue.push(batch.slice(i, i + most));
        } else if (Number.isInteger(index) && index < batch.length) {
          refused.push({ number: batch[index].number, reason: error.message.replace(/^instance \d+: /, "") });
          done += 1;
          if (batch.length > 1) queue.unshift(batch.filter((_, i) => i !== index));
        } else throw error;
        continue;
      }
      done += batch.length;
      progress(done);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { answered: rows.filter((row) => found.has(row.number)).map((row) => found.get(row.number)), refused };
}

function ofRow(row, answer, i) {
  return { row, prediction: answer.predictions[i], label: answer.labels?.[i], explanation: answer.explanations?.[i] };
}

// Ask for one batch; again after a while where the server is busy.
async function askBatch({ path, explain, signal }, batch) {
  const instances = batch.map((row) => ({ features: Object.fromEntries(row.values) }));
  for (let retries = 0; ; retries++) {
    try {
      return await ask("POST", path, { instances, ...(explain ? { explain: true } : {}) }, signal);
    } catch (error) {
      if (error.status !== 503 || retries === MOST_RETRIES) throw error;
      await pause(RETRY_MS * (retries + 1));
    }
  }
}
