// Package opg connects a tool with its host. Underneath is the interface of Extism's plugins.
package opg

import (
	"encoding/json"
	"errors"
	"fmt"
)

// One tool, as Tool makes it.
type Definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"inputSchema"`
	call        func(json.RawMessage) (any, error)
}

// Tool is a tool of this name. The description and the schema, JSON Schema of an object, are what a model reads. Input
// that fits the schema is read into In; what comes back is written as JSON. An error is told to the model.
func Tool[In, Out any](name, description, schema string, call func(In) (Out, error)) Definition {
	return Definition{name, description, json.RawMessage(schema), func(arguments json.RawMessage) (any, error) {
		var in In
		if err := json.Unmarshal(arguments, &in); err != nil {
			return nil, err
		}
		return call(in)
	}}
}

var tools []Definition

// Serve says which tools there are. To be called from init.
func Serve(all ...Definition) { tools = all }

// Debug, Info, Warn and Error write a line into the log of the call.
func Debug(line string) { logDebug(keep([]byte(line))) }
func Info(line string)  { logInfo(keep([]byte(line))) }
func Warn(line string)  { logWarn(keep([]byte(line))) }
func Error(line string) { logError(keep([]byte(line))) }

// Config is a value of `config` in manifest.json; empty where there is none.
func Config(name string) string { return string(take(configGet(keep([]byte(name))))) }

// Request is what Fetch sends; without a method, GET.
type Request struct {
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    []byte            `json:"-"`
}

// Response is what came back.
type Response struct {
	Status  int
	Headers map[string]string
	Body    []byte
}

// Fetch asks the host to send a request, to a host that manifest.json names and that was granted. Where the host refuses,
// or the request fails, the call ends with the reason.
func Fetch(request Request) (Response, error) {
	asked, err := json.Marshal(request)
	if err != nil {
		return Response{}, err
	}
	var body uint64
	if request.Body != nil {
		body = keep(request.Body)
	}
	response := Response{Body: take(httpRequest(keep(asked), body)), Status: int(httpStatusCode())}
	if headers := take(httpHeaders()); len(headers) > 0 {
		err = json.Unmarshal(headers, &response.Headers)
	}
	return response, err
}

//go:wasmexport describe
func describe() int32 { return answer(map[string]any{"tools": tools}, nil) }

//go:wasmexport call
func call() int32 {
	var request struct {
		Params struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"params"`
	}
	if err := json.Unmarshal(input(), &request); err != nil {
		return answer(nil, err)
	}
	for _, tool := range tools {
		if tool.Name == request.Params.Name {
			output, err := tool.call(request.Params.Arguments)
			return answer(result(output, err))
		}
	}
	return answer(nil, fmt.Errorf("there is no tool %q", request.Params.Name))
}

// As MCP has the result of a call.
func result(output any, failed error) (any, error) {
	if failed != nil {
		return map[string]any{"content": text(failed.Error()), "isError": true}, nil
	}
	written, err := json.Marshal(output)
	return map[string]any{"content": text(string(written))}, err
}

func text(text string) []map[string]string { return []map[string]string{{"type": "text", "text": text}} }

func answer(value any, err error) int32 {
	written, wrong := json.Marshal(value)
	if err = errors.Join(err, wrong); err != nil {
		errorSet(keep([]byte(err.Error())))
		return 1
	}
	outputSet(keep(written), uint64(len(written)))
	return 0
}
