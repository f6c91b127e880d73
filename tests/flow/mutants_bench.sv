// A register, an interrupt and a memory, with seven mutants, and a counter with one: what `mutant_run` needs of a test bench, and no more.
module store(input logic clk, input logic dump);
    logic [127:0] mem [16] /* verilator public_flat_rw */;
    longint dump_base /* verilator public_flat_rw */;
    int dump_bytes /* verilator public_flat_rw */;
    int file;
    always @(posedge clk) if (dump) begin
        file = $fopen("dump.bin", "wb");
        $fwrite(file, "%h", mem[0]);
        $fclose(file);
    end
endmodule

module counter(input logic clk, input logic [15:0] mutant);
    logic [63:0] count /* verilator public_flat_rw */ = 0;
    logic [23:0] retired /* verilator public_flat_rw */ = 0;
    logic [31:0] remaining /* verilator public_flat_rw */ = 1000;
    logic [63:0] next;
    assign next = count + 1;
    always @(posedge clk) count <= mutant == 8 ? {1'b0, next[62:0]} : next;
endmodule

module testbench (
    input logic [15:0] mutant, input logic watch, output logic [8:0] reached,
    input logic aclk, input logic aresetn, output logic irq, input logic dump,
    input logic [15:0] s_axil_awaddr, input logic s_axil_awvalid, output logic s_axil_awready,
    input logic [31:0] s_axil_wdata, input logic [3:0] s_axil_wstrb, input logic s_axil_wvalid, output logic s_axil_wready,
    output logic [1:0] s_axil_bresp, output logic s_axil_bvalid, input logic s_axil_bready,
    input logic [15:0] s_axil_araddr, input logic s_axil_arvalid, output logic s_axil_arready,
    output logic [31:0] s_axil_rdata, output logic [1:0] s_axil_rresp, output logic s_axil_rvalid, input logic s_axil_rready,
    output logic [7:0] viol, output logic [7:0] viol_port, output logic [47:0] total_read, output logic [47:0] written_bytes
);
    logic [31:0] value, left;
    store memory (.clk(aclk), .dump);
    counter dut (.clk(aclk), .mutant);
    assign s_axil_awready = !s_axil_bvalid;
    assign s_axil_wready = !s_axil_bvalid;
    assign s_axil_arready = !s_axil_rvalid;
    assign viol = 0;
    assign viol_port = 0;
    assign total_read = 0;
    assign written_bytes = 0;
    always @(posedge aclk) begin
        if (s_axil_wvalid && s_axil_wready) begin
            value <= s_axil_wdata ^ (mutant == 1);
            left <= mutant == 2 ? 0 : s_axil_wdata + 32'(mutant == 7);
            s_axil_bvalid <= mutant != 3;
            if (s_axil_wdata == 9) memory.mem[0] <= mutant == 4 ? 0 : 7;
            if (mutant == 5) $stop;
        end else if (s_axil_bready) s_axil_bvalid <= 0;
        if (left != 0) left <= left - 1;
        irq <= left == 1 || irq && mutant != 6;
        if (s_axil_arvalid && s_axil_arready) begin
            s_axil_rvalid <= 1;
            s_axil_rdata <= s_axil_araddr == 16'h14 ? 0 : s_axil_araddr == 8 ? dut.count[63:32] :
                s_axil_araddr == 12 ? 32'(dut.retired) : s_axil_araddr == 16 ? dut.remaining : value;
        end else if (s_axil_rready) s_axil_rvalid <= 0;
        if (!aresetn) begin
            {value, left, s_axil_bvalid, s_axil_rvalid, irq} <= 0;
            s_axil_bresp <= 0;
            s_axil_rresp <= 0;
        end
        if (!watch) reached <= 0;
        else reached <= reached | (s_axil_wvalid && s_axil_wdata == 9 ? 9'hFE : 9'h9E & {9{s_axil_wvalid}}) | {s_axil_arvalid && s_axil_araddr == 8, 8'h0};
    end
endmodule
