// The digits network of a build folder with an argmax behind it: pixels in, digits out.
module digits_top(
  input clk,
  input rst,
  input [7:0] pixel,        // a code; the last of a frame is marked
  input pixel_last,
  input pixel_valid,
  output pixel_ready,
  output [3:0] digit,
  output digit_valid,
  input digit_ready
);
  // From manifest.json of the build folder, under `interface`: one code and one element a word, elements of 21 bits.
  localparam BITS = 21;

  wire [BITS+1:0] result;   // from the low bits: element, keep (always 1 where there is one element a word), last
  wire result_valid, result_ready;

  network network(
    .clk(clk), .rst(rst),
    .i__payload({pixel_last, pixel}), .i__valid(pixel_valid), .i__ready(pixel_ready),
    .o__payload(result), .o__valid(result_valid), .o__ready(result_ready)
  );

  argmax #(.BITS(BITS), .PLACE_BITS(4)) argmax(
    .clk(clk), .rst(rst),
    .element(result[BITS-1:0]), .element_last(result[BITS+1]),
    .element_valid(result_valid), .element_ready(result_ready),
    .place(digit), .place_valid(digit_valid), .place_ready(digit_ready)
  );
endmodule
