// Every product of a packed lane: all pairs of weights, all values, the rest of the chain at the extreme that makes the lower sum largest.
//
// 32 pairs of rows, for as many lower weights; time steps through the rest of them, the upper weights and the values.

module packing_case #(
    parameter int CHAIN = 2,
    parameter int FIELD = 17,
    parameter int PLACE = 0,
    parameter int SUM_BITS = 18
) (
    input logic clk,
    input logic signed [7:0] lower,
    input logic load,
    input logic swap,
    input logic valid,
    input logic signed [7:0] upper,
    input logic signed [8:0] x,
    output logic wrong
);
    localparam int LATENCY = 1 + CHAIN;
    localparam logic signed [7:0] EXTREME = -8'sd128;
    logic [2*CHAIN*8-1:0] row;
    logic [CHAIN*9-1:0] values;
    logic signed [8:0] late [CHAIN+1], rest [CHAIN+1];
    logic [FIELD-1:0] offset;
    logic [2*SUM_BITS-1:0] sums;
    int lower_wanted [LATENCY+1], upper_wanted [LATENCY+1];
    logic due [LATENCY+1];

    always_comb begin
        late[0] = x;
        rest[0] = lower[7] == x[8] ? -9'sd255 : 9'sd255;
        due[0] = valid;
        lower_wanted[0] = int'(lower) * int'(x) + (CHAIN - 1) * int'(EXTREME) * int'(rest[0]);
        upper_wanted[0] = int'(upper) * int'(x) + (CHAIN - 1) * int'(EXTREME) * int'(rest[0]);
        offset = FIELD'((1 << (FIELD - 1)) - 128 * (int'(x) + (CHAIN - 1) * int'(rest[0])));
        for (int k = 0; k < CHAIN; k++) begin
            row[8*k +: 8] = k == PLACE ? lower : EXTREME;
            row[8*(CHAIN + k) +: 8] = k == PLACE ? upper : EXTREME;
            values[9*k +: 9] = k == PLACE ? late[k] : rest[k];
        end
    end
    always_ff @(posedge clk) begin
        for (int k = 0; k < CHAIN; k++) begin
            late[k+1] <= late[k];
            rest[k+1] <= rest[k];
        end
        for (int k = 0; k < LATENCY; k++) begin
            due[k+1] <= due[k];
            lower_wanted[k+1] <= lower_wanted[k];
            upper_wanted[k+1] <= upper_wanted[k];
        end
    end

    pair dut (
        .clk, .rst(1'b0), .x(values), .offset, .enable({LATENCY{1'b1}}), .swap({CHAIN{swap}}), .row_load({2*CHAIN{load}}), .row,
        .lane_load({CHAIN{1'b0}}), .value({2*CHAIN*8{1'b0}}), .sums
    );
    assign wrong = due[LATENCY] && (
        int'(signed'(sums[SUM_BITS-1:0])) != lower_wanted[LATENCY] || int'(signed'(sums[2*SUM_BITS-1:SUM_BITS])) != upper_wanted[LATENCY]);
endmodule

module packing #(
    parameter int CHAIN = 2,
    parameter int FIELD = 17,
    parameter int PLACE = 0,
    parameter int SUM_BITS = 18
) (
    input logic clk,
    output logic done,
    output logic [63:0] checked,
    output logic [31:0] wrong
);
    localparam int GAP = 2 * CHAIN + 4;
    int step = 0;
    logic signed [7:0] upper = -128;
    logic signed [8:0] x;
    logic load, swap, valid;
    logic [31:0] cases;
    logic [2:0] part = 0;

    initial begin
        done = 0;
        checked = 0;
        wrong = 0;
    end
    assign load = step == 0;
    assign swap = step == 1;
    assign valid = step >= GAP && step < GAP + 511;
    assign x = valid ? 9'(step - GAP - 255) : 9'sd0;
    for (genvar b = 0; b < 32; b++) begin : weight
        packing_case #(.CHAIN(CHAIN), .FIELD(FIELD), .PLACE(PLACE), .SUM_BITS(SUM_BITS)) each (
            .clk, .lower({part, 5'(b)}), .load, .swap, .valid, .upper, .x, .wrong(cases[b])
        );
    end
    always_ff @(posedge clk) begin
        if (valid) checked <= checked + 32;
        if (|cases) begin
            wrong <= wrong + 1;
            done <= 1;
        end
        if (!done) step <= step + 1;
        if (step == 2 * GAP + 511) begin
            step <= 0;
            upper <= upper + 1;
            if (upper == 127) begin
                part <= part + 1;
                if (part == 7) done <= 1;
            end
        end
    end
endmodule
