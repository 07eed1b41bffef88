// The design of the decision record that mlrf began from: net/http and encoding/json before ONNX Runtime, one session behind a mutex,
// batches row by row. With TUNED=1: one thread in the session, no mutex (a session may be run from several threads), a batch in one call.
package main

/*
#cgo LDFLAGS: -l:libonnxruntime.so.1
#include <stdint.h>
#include <stddef.h>

// ONNX Runtime's C interface is a table of functions whose order never changes. The headers are in no registry, so the few that are
// needed are called by their index.
typedef struct { const void **(*api)(uint32_t); } Base;
extern const Base *OrtGetApiBase(void);
static const void **ort;
static void *env, *options, *session, *memory;

#define CALL(index, ...) ((void *(*)())ort[index])(__VA_ARGS__)
enum { CREATE_ENV = 3, CREATE_SESSION = 7, RUN = 9, CREATE_OPTIONS = 10, INTRA = 24, INTER = 25, TENSOR = 49, DATA = 51, CPU = 69,
       RELEASE_VALUE = 96 };

static int open_model(const char *path, int one_thread) {
    ort = OrtGetApiBase()->api(17);
    if (CALL(CREATE_ENV, 3, "record", &env) || CALL(CREATE_OPTIONS, &options)) return 1;
    if (one_thread && (CALL(INTRA, options, 1) || CALL(INTER, options, 1))) return 1;
    if (CALL(CREATE_SESSION, env, path, options, &session)) return 1;
    return CALL(CPU, 0, 0, &memory) != NULL;
}

static int run_model(double *rows, int64_t n, int64_t width, double *out) {
    void *input = NULL, *output = NULL, *found = NULL;
    int64_t shape[2] = {n, width};
    const char *in[1] = {"features"}, *outs[1] = {"prediction"};
    size_t bytes = (size_t)(n * width) * sizeof(double), rank = 2, one = 1;
    if (CALL(TENSOR, memory, (void *)rows, bytes, shape, rank, 11, &input)) return 1;
    int failed = CALL(RUN, session, NULL, in, &input, one, outs, one, &output) != NULL || CALL(DATA, output, &found) != NULL;
    for (int64_t i = 0; !failed && i < n; i++) out[i] = ((double *)found)[i];
    CALL(RELEASE_VALUE, input);
    if (output) CALL(RELEASE_VALUE, output);
    return failed;
}
*/
import "C"

import (
	"encoding/json"
	"errors"
	"log"
	"math"
	"net/http"
	"os"
	"sync"
)

const width = 27

type instance struct {
	Features []*float64 `json:"features"`
}

type batch struct {
	Instances []instance `json:"instances"`
}

type answer struct {
	Prediction float64 `json:"prediction"`
	Model      string  `json:"model"`
	Version    string  `json:"version"`
	Cached     bool    `json:"cached"`
}

type batchAnswer struct {
	Predictions []float64 `json:"predictions"`
	Model       string    `json:"model"`
	Version     string    `json:"version"`
}

var (
	tuned = os.Getenv("TUNED") == "1"
	mutex sync.Mutex
)

func fill(row []float64, features []*float64) error {
	if len(features) != width {
		return errors.New("27 features are expected")
	}
	for i, value := range features {
		row[i] = math.NaN()
		if value != nil {
			row[i] = *value
		}
	}
	return nil
}

func score(rows []float64, out []float64) error {
	if !tuned {
		mutex.Lock()
		defer mutex.Unlock()
	}
	if C.run_model((*C.double)(&rows[0]), C.int64_t(len(out)), width, (*C.double)(&out[0])) != 0 {
		return errors.New("the model failed")
	}
	return nil
}

func reply(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func predict(w http.ResponseWriter, r *http.Request) {
	var sent instance
	row, out := make([]float64, width), make([]float64, 1)
	err := json.NewDecoder(r.Body).Decode(&sent)
	if err == nil {
		err = fill(row, sent.Features)
	}
	if err == nil {
		err = score(row, out)
	}
	reply(w, answer{out[0], "sales", "1", false}, err)
}

func predictBatch(w http.ResponseWriter, r *http.Request) {
	var sent batch
	err := json.NewDecoder(r.Body).Decode(&sent)
	n := len(sent.Instances)
	if err == nil && n == 0 {
		err = errors.New("no instances")
	}
	rows, out := make([]float64, n*width), make([]float64, n)
	for i := 0; err == nil && i < n; i++ {
		row := rows[i*width : (i+1)*width]
		err = fill(row, sent.Instances[i].Features)
		if err == nil && !tuned {
			err = score(row, out[i:i+1])
		}
	}
	if err == nil && tuned {
		err = score(rows, out)
	}
	reply(w, batchAnswer{out, "sales", "1"}, err)
}

func main() {
	oneThread := C.int(0)
	if tuned {
		oneThread = 1
	}
	if C.open_model(C.CString(os.Args[2]), oneThread) != 0 {
		log.Fatal("the model cannot be read")
	}
	http.HandleFunc("/predict", predict)
	http.HandleFunc("/predict/batch", predictBatch)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
