// What the large memory of the iCE40 UltraPlus does, for simulating netlists: Yosys' own model is empty, or takes it half
// a minute to read. Words are undefined at first, and so is the output after a write; here it stays. The power modes are
// refused by naming a module that does not exist.
module SB_SPRAM256KA (
  input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
  input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
  output reg [15:0] DATAOUT
);
  parameter _TECHMAP_CONSTMSK_STANDBY_ = 0, _TECHMAP_CONSTVAL_STANDBY_ = 0;
  parameter _TECHMAP_CONSTMSK_SLEEP_ = 0, _TECHMAP_CONSTVAL_SLEEP_ = 0;
  parameter _TECHMAP_CONSTMSK_POWEROFF_ = 0, _TECHMAP_CONSTVAL_POWEROFF_ = 0;
  generate
    if (_TECHMAP_CONSTMSK_STANDBY_ !== 1'b1 || _TECHMAP_CONSTVAL_STANDBY_ !== 1'b0 ||
        _TECHMAP_CONSTMSK_SLEEP_ !== 1'b1 || _TECHMAP_CONSTVAL_SLEEP_ !== 1'b0 ||
        _TECHMAP_CONSTMSK_POWEROFF_ !== 1'b1 || _TECHMAP_CONSTVAL_POWEROFF_ !== 1'b1)
      mode_without_model mode_without_model();
  endgenerate

  reg [15:0] memory [0:16383];
  wire [15:0] word = memory[ADDRESS];
  wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
  always @(posedge CLOCK)
    if (CHIPSELECT) begin
      if (WREN) memory[ADDRESS] <= word & ~mask | DATAIN & mask;
      else DATAOUT <= word;
    end
endmodule
