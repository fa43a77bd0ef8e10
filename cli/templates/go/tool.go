package main

import (
	"errors"
	"strings"

	"{{name}}/opg"
)

// What the tool takes. The schema is what the model reads, and what the host holds its input to.
type input struct {
	Name string `json:"name"`
}

const schema = `{
	"type": "object", "required": ["name"], "additionalProperties": false,
	"properties": {"name": {"type": "string", "description": "Who to greet."}}
}`

func greet(in input) (string, error) {
	if strings.TrimSpace(in.Name) == "" {
		return "", errors.New("the name is empty; say who to greet")
	}
	opg.Info("greeting " + in.Name)
	return "Hello, " + in.Name + "!", nil
}

func init() {
	opg.Serve(opg.Tool("greet", "Greets someone by name.", schema, greet))
}

func main() {}
