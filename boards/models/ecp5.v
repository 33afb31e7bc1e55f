// What two cells of the ECP5 do, for simulating netlists: only the modes that Yosys uses; any other is refused by naming
// a module that does not exist.

// 512 rows of 36 bits, which are 4 places of 9 bits. A word of 1, 2 or 4 bits lies in the low 8 bits of a place; one of
// 18 or 36 bits is 2 or 4 places, each with a write enable where narrow words have address bits. A word of 36 bits goes
// through both ports at once: port A writes it, port B reads it, bits 17..0 at A and 35..18 at B; beside such a port A a
// narrower word is read at B. Both ports read what was there before the cycle. The contents are in a file, a row a line.
module DP16KD (
  input CLKA, CEA, OCEA, RSTA, WEA, CSA2, CSA1, CSA0, CLKB, CEB, OCEB, RSTB, WEB, CSB2, CSB1, CSB0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
    DIA0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1,
    DIB0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
    DOA1, DOA0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
    DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL", CLKAMUX = "CLKA", CLKBMUX = "CLKB", GSR = "AUTO";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000", INIT_DATA = "STATIC", INIT_FILE = "";

  generate
    if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || CLKAMUX != "CLKA" || CLKBMUX != "CLKB" ||
        WRITEMODE_A == "WRITETHROUGH" || WRITEMODE_B == "WRITETHROUGH")
      mode_without_model mode_without_model();
  endgenerate

  wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0};
  wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0};
  reg [35:0] qa = 0, qb = 0;
  wire [17:0] doa, dob;
  generate
    if (DATA_WIDTH_B == 36) assign {dob, doa} = qb;
    else assign doa = qa[17:0], dob = qb[17:0];
  endgenerate
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
    DOA1, DOA0} = doa;
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
    DOB1, DOB0} = dob;

  reg [35:0] memory [0:511];
  generate
    if (INIT_FILE != "") initial $readmemh(INIT_FILE, memory);
  endgenerate
  wire [35:0] row_a = memory[ada[13:5]], row_b = memory[adb[13:5]];

  // What a port reads; its data, wherever in a row its word may lie; the bits that it writes.
  wire [35:0] read_a, data_a, mask_a, read_b, data_b, mask_b;
  generate
    case (DATA_WIDTH_A)
      36: assign read_a = row_a, data_a = {dib, dia}, mask_a = {{9{ada[3]}}, {9{ada[2]}}, {9{ada[1]}}, {9{ada[0]}}};
      18: assign read_a = row_a[18 * ada[4] +: 18], data_a = {2{dia}},
            mask_a = {18'd0, {9{ada[1]}}, {9{ada[0]}}} << 18 * ada[4];
      9: assign read_a = row_a[9 * ada[4:3] +: 9], data_a = {4{dia[8:0]}},
           mask_a = 36'h1ff << 9 * ada[4:3];
      4: assign read_a = row_a[9 * ada[4:3] + 4 * ada[2] +: 4], data_a = {4{1'b0, {2{dia[3:0]}}}},
           mask_a = 36'hf << 9 * ada[4:3] + 4 * ada[2];
      2: assign read_a = row_a[9 * ada[4:3] + 2 * ada[2:1] +: 2], data_a = {4{1'b0, {4{dia[1:0]}}}},
           mask_a = 36'h3 << 9 * ada[4:3] + 2 * ada[2:1];
      1: assign read_a = row_a[9 * ada[4:3] + ada[2:0]], data_a = {36{dia[0]}},
           mask_a = 36'h1 << 9 * ada[4:3] + ada[2:0];
    endcase
    case (DATA_WIDTH_B)
      36: assign read_b = row_b, data_b = 36'd0, mask_b = 36'd0;
      18: assign read_b = row_b[18 * adb[4] +: 18], data_b = {2{dib}},
            mask_b = {18'd0, {9{adb[1]}}, {9{adb[0]}}} << 18 * adb[4];
      9: assign read_b = row_b[9 * adb[4:3] +: 9], data_b = {4{dib[8:0]}},
           mask_b = 36'h1ff << 9 * adb[4:3];
      4: assign read_b = row_b[9 * adb[4:3] + 4 * adb[2] +: 4], data_b = {4{1'b0, {2{dib[3:0]}}}},
           mask_b = 36'hf << 9 * adb[4:3] + 4 * adb[2];
      2: assign read_b = row_b[9 * adb[4:3] + 2 * adb[2:1] +: 2], data_b = {4{1'b0, {4{dib[1:0]}}}},
           mask_b = 36'h3 << 9 * adb[4:3] + 2 * adb[2:1];
      1: assign read_b = row_b[9 * adb[4:3] + adb[2:0]], data_b = {36{dib[0]}},
           mask_b = 36'h1 << 9 * adb[4:3] + adb[2:0];
    endcase
  endgenerate

  always @(posedge CLKA)
    if (CEA && WEA) memory[ada[13:5]] <= row_a & ~mask_a | data_a & mask_a;
  always @(posedge CLKB)
    if (CEB && WEB) memory[adb[13:5]] <= row_b & ~mask_b | data_b & mask_b;

  wire shows_a = CEA && (!WEA || WRITEMODE_A == "READBEFOREWRITE");
  generate
    if (RESETMODE == "ASYNC") begin
      always @(posedge CLKA or posedge RSTA)
        if (RSTA) qa <= 0;
        else if (shows_a) qa <= read_a;
    end else begin
      always @(posedge CLKA)
        if (RSTA) qa <= 0;
        else if (shows_a) qa <= read_a;
    end
  endgenerate

  wire shows_b = CEB && (!WEB || WRITEMODE_B == "READBEFOREWRITE");
  generate
    if (RESETMODE == "ASYNC") begin
      always @(posedge CLKB or posedge RSTB)
        if (RSTB) qb <= 0;
        else if (shows_b) qb <= read_b;
    end else begin
      always @(posedge CLKB)
        if (RSTB) qb <= 0;
        else if (shows_b) qb <= read_b;
    end
  endgenerate

endmodule

// 18 x 18 bits, each factor signed or not; no registers.
module MULT18X18D (
  input CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
  output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
    P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_PIPELINE_CLK = "NONE", REG_OUTPUT_CLK = "NONE";
  generate
    if (REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" || REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE")
      mode_without_model mode_without_model();
  endgenerate
  wire signed [18:0] a = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1,
    A0};
  wire signed [18:0] b = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1,
    B0};
  wire signed [37:0] product = a * b;
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
    P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product[35:0];
endmodule
