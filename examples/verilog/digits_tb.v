// Sends the golden frames of a build folder through digits_top and prints a digit for each:
//   $ dovetail compile cli/digits/digits.onnx -o build --calibration cli/digits/digits_calibration.npz --target-cycles 300
//   $ iverilog -g2012 -o digits.vvp examples/verilog/*.v build/network.v && vvp digits.vvp +frames=build/tb_input.hex
//   $ verilator --binary --timing --top-module digits_tb examples/verilog/*.v build/network.v
//   $ obj_dir/Vdigits_tb +frames=build/tb_input.hex
// It loads nothing: a network whose weights are in SPRAM (the folder's README.md names its empty memories) gives no
// digit here; tb.v of its folder shows how to load it.
module digits_tb;
  localparam FRAMES = 4, PIXELS = 64;
  reg clk = 0, rst = 1, pixel_valid = 0;
  reg [8:0] words [0:FRAMES*PIXELS-1];      // as i__payload: `last` above a code
  reg [8:0] word = 0;
  wire pixel_ready, digit_valid;
  wire [3:0] digit;
  reg [8*256-1:0] file;
  integer sent = 0, got = 0;

  digits_top dut(
    .clk(clk), .rst(rst), .pixel(word[7:0]), .pixel_last(word[8]), .pixel_valid(pixel_valid),
    .pixel_ready(pixel_ready), .digit(digit), .digit_valid(digit_valid), .digit_ready(1'b1)
  );

  always #5 clk = !clk;

  initial begin
    if (!$value$plusargs("frames=%s", file)) $fatal(1, "say +frames=BUILD/tb_input.hex");
    $readmemh(file, words);
    repeat (2) @(negedge clk);
    rst = 0;
    while (got < FRAMES) begin
      pixel_valid = sent < FRAMES * PIXELS;
      if (pixel_valid) word = words[sent];
      #1;
      if (pixel_valid && pixel_ready) sent = sent + 1;
      if (digit_valid) begin
        $display("digit %0d", digit);
        got = got + 1;
      end
      @(negedge clk);
    end
    $finish;
  end

  initial #1000000 $fatal(1, "no digit: weights in SPRAM would have to be loaded first, see tb.v of the folder");
endmodule
