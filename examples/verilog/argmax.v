// The place of the greatest element of every frame, of several equal ones the first. One element a beat.
module argmax #(parameter BITS = 8, parameter PLACE_BITS = 4) (
  input clk,
  input rst,
  input signed [BITS-1:0] element,
  input element_last,
  input element_valid,
  output element_ready,
  output reg [PLACE_BITS-1:0] place,
  output reg place_valid,
  input place_ready
);
  reg first;
  reg signed [BITS-1:0] greatest;
  reg [PLACE_BITS-1:0] greatest_place, this_place;

  wire better = first || element > greatest;
  wire [PLACE_BITS-1:0] best = better ? this_place : greatest_place;

  assign element_ready = !place_valid || place_ready;

  always @(posedge clk) begin
    if (place_ready) place_valid <= 0;
    if (element_valid && element_ready) begin
      if (better) greatest <= element;
      greatest_place <= best;
      this_place <= element_last ? 0 : this_place + 1;
      first <= element_last;
      if (element_last) begin
        place <= best;
        place_valid <= 1;
      end
    end
    if (rst) begin
      place_valid <= 0;
      this_place <= 0;
      first <= 1;
    end
  end
endmodule
