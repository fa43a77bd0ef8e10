package opg

import "encoding/binary"

// Texts cross over by address, in memory of the host that is copied word by word.

func input() []byte { return copied(inputLength(), 0, inputLoadU64, inputLoadU8) }

func take(at uint64) []byte {
	if at == 0 {
		return nil
	}
	return copied(length(at), at, loadU64, loadU8)
}

func copied(length, at uint64, word func(uint64) uint64, last func(uint64) uint32) []byte {
	bytes := make([]byte, length)
	whole := length - length%8
	for i := uint64(0); i < whole; i += 8 {
		binary.LittleEndian.PutUint64(bytes[i:], word(at+i))
	}
	for i := whole; i < length; i++ {
		bytes[i] = byte(last(at + i))
	}
	return bytes
}

func keep(bytes []byte) uint64 {
	length := uint64(len(bytes))
	at, whole := alloc(length), length-length%8
	for i := uint64(0); i < whole; i += 8 {
		storeU64(at+i, binary.LittleEndian.Uint64(bytes[i:]))
	}
	for i := whole; i < length; i++ {
		storeU8(at+i, uint32(bytes[i]))
	}
	return at
}

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(offset uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(offset uint64) uint64

//go:wasmimport extism:host/env alloc
func alloc(length uint64) uint64

//go:wasmimport extism:host/env length
func length(at uint64) uint64

//go:wasmimport extism:host/env load_u8
func loadU8(at uint64) uint32

//go:wasmimport extism:host/env load_u64
func loadU64(at uint64) uint64

//go:wasmimport extism:host/env store_u8
func storeU8(at uint64, value uint32)

//go:wasmimport extism:host/env store_u64
func storeU64(at uint64, value uint64)

//go:wasmimport extism:host/env output_set
func outputSet(at uint64, length uint64)

//go:wasmimport extism:host/env error_set
func errorSet(at uint64)

//go:wasmimport extism:host/env log_debug
func logDebug(at uint64)

//go:wasmimport extism:host/env log_info
func logInfo(at uint64)

//go:wasmimport extism:host/env log_warn
func logWarn(at uint64)

//go:wasmimport extism:host/env log_error
func logError(at uint64)

//go:wasmimport extism:host/env config_get
func configGet(name uint64) uint64

//go:wasmimport extism:host/env http_request
func httpRequest(request uint64, body uint64) uint64

//go:wasmimport extism:host/env http_status_code
func httpStatusCode() int32

//go:wasmimport extism:host/env http_headers
func httpHeaders() uint64
