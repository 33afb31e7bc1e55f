"""From the graph of an ONNX file to the float record: constants, spellings, one step a node, passes."""
